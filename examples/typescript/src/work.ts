// What this node does with a file: your part.
import { setTimeout as sleep } from "node:timers/promises";
import type { ClientBase } from "pg";

export interface File {
  id: string; original_filename: string | null; storage_path: string | null; file_size: string | null; attempt: number;
}

/** The file is bad, and trying again is useless. */
export class Reject extends Error {}

export interface Done {
  result?: object;
  /** Rows that commit together with the completion, or not at all. */
  write?: (client: ClientBase) => Promise<void>;
}

export async function work(file: File, token: string, progress: (done: number, total: number) => void, lost: AbortSignal): Promise<Done> {
  if (file.original_filename?.startsWith("bad")) throw new Reject("not a ledger");
  const steps = Number(process.env.WORK_STEPS ?? 5);
  for (let step = 0; step < steps; step++) {
    await sleep(Number(process.env.WORK_STEP_MS ?? 10), undefined, { signal: lost });
    progress(step + 1, steps);
  }
  return {
    result: { steps },
    write: async (client) => {
      await client.query("INSERT INTO effects (file_id, token, server_id) VALUES ($1, $2, $3)", [
        file.id, token, process.env.OPSKIT_SERVER_ID ?? process.env.NODE_ID,
      ]);
    },
  };
}
