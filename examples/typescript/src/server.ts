// A server that does the work for nodes: opskit worker --post http://127.0.0.1:3000/process
import express from "express";
import pg from "pg";
import { run } from "./queries.js";
import { Reject, work } from "./work.js";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, options: "-c TimeZone=UTC" });
const app = express();
app.use(express.json({ limit: "1mb" }));

app.post("/process", async (request, response) => {
  const { id, name, path, size, attempt, token } = request.body;
  try {
    const file = { id, original_filename: name, storage_path: path, file_size: size, attempt };
    const { result, write } = await work(file, token, () => undefined, new AbortController().signal);
    if (!write) return void response.json(result ?? {});
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      // The fence: a claim that is lost writes nothing, and an answer that got lost writes nothing twice.
      const [row] = await run(client, "complete", { id, token, result: JSON.stringify(result ?? null) });
      if (row!.answer === "done") await write(client);
      await client.query(row!.answer === "done" ? "COMMIT" : "ROLLBACK");
      response.sendStatus(row!.answer === "done" || row!.answer === "already" ? 204 : 409);
    } catch (error) {
      await client.query("ROLLBACK").catch(() => undefined);
      throw error;
    } finally {
      client.release();
    }
  } catch (error) {
    if (error instanceof Reject) response.status(422).json({ error: error.message });
    else response.status(500).json({ error: String(error) });
  }
});

const server = app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => console.error("listening"));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
