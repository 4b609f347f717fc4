// What a server or a program does that was handed a claim: complete its file together with rows of its own.
import { setTimeout as sleep } from "node:timers/promises";
import type { ClientBase } from "pg";
import { run } from "./queries.js";

/** done: completed now; already: by an earlier try of this token; lost: the claim is somebody else's, nothing was written. */
export type Answer = "done" | "already" | "lost";

/** Complete a file in one transaction with rows of one's own: the fence first, so that a lost claim writes nothing. */
export async function completeWith(
  client: ClientBase, id: string, token: string, result: object | undefined, write: (client: ClientBase) => Promise<void>,
): Promise<Answer> {
  for (;;) {
    await client.query("BEGIN");
    const [row] = await run(client, "complete", { id, token, result: JSON.stringify(result ?? null) });
    const answer: string = row!.answer;
    if (answer === "done") await write(client);
    // What the server says counts: COMMIT of an aborted transaction is answered with ROLLBACK, and no error.
    const ended = await client.query(answer === "done" ? "COMMIT" : "ROLLBACK");
    if (answer === "done" && ended.command !== "COMMIT") throw new Error("the transaction was not committed");
    if (answer !== "again") return answer as Answer;
    await sleep(50); // an earlier try of this token is still in flight
  }
}
