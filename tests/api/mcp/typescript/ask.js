// Asks an MCP server, named by its address and a token, by the official SDK, and prints what it said.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [, , url, token] = process.argv;
const client = new Client({ name: "tests", version: "1.0.0" });
const headers = { authorization: `Bearer ${token}` };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
const { tools } = await client.listTools();
const read = await client.callTool({ name: "read_adr", arguments: { adr: "ADR-7" } });
const failed = await client.callTool({ name: "read_adr", arguments: { adr: "ADR-99" } });
const resource = await client.readResource({ uri: "adr://main/7" });
const { prompts } = await client.listPrompts();
console.log(
  JSON.stringify({
    server: client.getServerVersion().name,
    tools: tools.map((tool) => tool.name),
    read: read.structuredContent,
    failed: { isError: failed.isError, text: failed.content[0].text },
    resource: resource.contents[0].text,
    prompts: prompts.map((prompt) => prompt.name),
  }),
);
await client.close();
