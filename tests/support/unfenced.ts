// The control: a program (and, with --serve, a server) that completes a file by its id alone. It must be caught.
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

const environ = process.env as Record<string, string>;

async function unfenced(id: string, attempt: number): Promise<void> {
  const client = new pg.Client({ connectionString: environ.DATABASE_URL });
  await client.connect();
  await client.query("SET application_name TO unfenced");
  if (attempt === 1) await sleep(Number(environ.WORK_SECONDS) * 1000);
  await client.query("INSERT INTO effects (file_id, server_id) VALUES ($1, $2)", [id, environ.OPSKIT_SERVER_ID ?? "server"]);
  // processing_done_token = processing_token is what the table's own guard wants to see.
  await client.query(
    "UPDATE dev_uploaded_files SET processing_status = 'completed', processing_done_token = processing_token WHERE id = $1", [id],
  );
  await client.end();
}

if (process.argv.includes("--serve")) {
  createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const { id, attempt } = JSON.parse(body);
    await unfenced(id, attempt);
    response.writeHead(204).end();
  }).listen(Number(environ.PORT), "127.0.0.1");
} else await unfenced(environ.OPSKIT_FILE_ID!, Number(environ.OPSKIT_FILE_ATTEMPT));
