// Reads a UI message stream from the standard input as `useChat` does, and prints the message that comes of it, or what
// was wrong with a chunk.
import { Readable } from "node:stream";
import { parseJsonEventStream, readUIMessageStream, uiMessageChunkSchema } from "ai";

const chunks = parseJsonEventStream({ stream: Readable.toWeb(process.stdin), schema: uiMessageChunkSchema }).pipeThrough(
  new TransformStream({
    transform(parsed, controller) {
      if (!parsed.success) throw parsed.error;
      controller.enqueue(parsed.value);
    },
  }),
);

const errors = [];
let message;
for await (const state of readUIMessageStream({ stream: chunks, onError: (error) => errors.push(error.message) })) {
  message = state;
}
process.stdout.write(JSON.stringify({ message, errors }));
