// Asks the server as a program does that uses the AI SDK with its provider for OpenAI-compatible servers, and prints what
// came of it: node ask.js URL TOKEN PICTURE
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";

const [url, token, picture] = process.argv.slice(2);
const adriatic = createOpenAICompatible({
  name: "adriatic", baseURL: `${url}/v1`, apiKey: token, supportsStructuredOutputs: true, includeUsage: true,
});
const town = jsonSchema({
  type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false,
});
const once = { maxRetries: 0 };

async function ask(dialect) {
  const found = {};
  const weather = tool({ description: "The weather.", inputSchema: town, execute: async (input) => { found.tool = input; return "Sunny."; } });
  const called = streamText({ ...once, model: adriatic(`${dialect}-tools`), prompt: "How is it?", tools: { weather }, stopWhen: stepCountIs(3) });
  await called.consumeStream();
  found.steps = (await called.steps).length;
  const form = { ...once, model: adriatic(`${dialect}-whole`), prompt: "Where?", output: Output.object({ schema: town }) };
  found.form = (await generateText(form)).output;
  found.form_streamed = await streamText(form).output;
  found.reasoning = (await generateText({ ...once, model: adriatic(`${dialect}-think`), prompt: "Why?" })).reasoningText;
  const content = [{ type: "text", text: "What is it?" }, { type: "file", mediaType: "image/png", data: picture }];
  found.picture = (await generateText({ ...once, model: adriatic(`${dialect}-whole`), messages: [{ role: "user", content }] })).text;
  return found;
}

const { embedding } = await embed({ ...once, model: adriatic.embeddingModel("adriatic"), value: "Kafka is the ledger." });
process.stdout.write(JSON.stringify({ openai: await ask("openai"), anthropic: await ask("anthropic"), embedding: embedding.length }));
