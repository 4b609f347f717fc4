// A program that a node runs for each file: opskit worker --exec 'node dist/program.js {path}'
import { writeFileSync, writeSync } from "node:fs";
import pg from "pg";
import { completeWith } from "./fenced.js";
import { Reject, work } from "./work.js";

const environ = process.env as Record<string, string>;
const id = environ.OPSKIT_FILE_ID!, token = environ.OPSKIT_FILE_TOKEN!;
const file = {
  id, original_filename: environ.OPSKIT_FILE_NAME ?? null, storage_path: process.argv[2] ?? null, file_size: null,
  attempt: Number(environ.OPSKIT_FILE_ATTEMPT),
};

try {
  const { result, write } = await work(
    file, token, (done, total) => writeSync(3, `${done} ${total}\n`), new AbortController().signal,
  );
  if (!write) writeFileSync(environ.OPSKIT_RESULT!, JSON.stringify(result ?? {}));
  else {
    const client = new pg.Client({ connectionString: environ.DATABASE_URL, options: "-c TimeZone=UTC" });
    client.on("error", () => undefined); // the statement in hand fails as well
    await client.connect();
    const answer = await completeWith(client, id, token, result, write);
    await client.end();
    if (answer === "lost") throw new Error("the claim is lost; nothing was written");
  }
} catch (error) {
  console.error(error instanceof Reject ? error.message : error);
  process.exitCode = error instanceof Reject ? 65 : 1; // 65: the file is bad
}
