// A server that does the work for nodes: opskit worker --post http://127.0.0.1:3000/process
import express from "express";
import pg from "pg";
import { completeWith } from "./fenced.js";
import { Reject, work } from "./work.js";

const ignore = () => undefined;
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, options: "-c TimeZone=UTC" });
// Without a listener the end of an idle connection ends the server: each restart of the database would.
pool.on("error", (error) => console.error(`connection lost: ${error.message}`));
pool.on("connect", (client) => client.on("error", ignore));
const app = express();
app.use(express.json({ limit: "1mb" }));

app.post("/process", async (request, response) => {
  const { id, name, path, size, attempt, token } = request.body;
  try {
    const file = { id, original_filename: name, storage_path: path, file_size: size, attempt };
    const { result, write } = await work(file, token, ignore, new AbortController().signal);
    if (!write) return void response.json(result ?? {});
    const client = await pool.connect();
    let failure: Error | undefined;
    try {
      const answer = await completeWith(client, id, token, result, write);
      response.sendStatus(answer === "lost" ? 409 : 204);
    } catch (error) {
      failure = error as Error;
      throw error;
    } finally {
      client.release(failure); // with an error: the connection is closed, which rolls back
    }
  } catch (error) {
    if (error instanceof Reject) response.status(422).json({ error: error.message });
    else response.status(500).json({ error: String(error) });
  }
});

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => console.error("listening"));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
