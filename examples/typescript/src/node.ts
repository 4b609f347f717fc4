// A complete node in TypeScript: docs/reference/protocol.md says why each step is as it is.
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { run } from "./queries.js";
import { Reject, work, type File } from "./work.js";

const serverId = process.env.NODE_ID ?? `${hostname()}-${process.pid}`;
const leaseSeconds = Number(process.env.OPSKIT_LEASE_SECONDS ?? 30);
const policy = { max_failures: 3, retry_seconds: 10 };
const claimsPerEpoch = 200;
const boot = randomUUID();
const drain = process.argv.includes("--drain");

let epoch = "";
let stopping = false;
let deposed = false;
let lastBeat = 0;
let current: { token: string; done: string; total: string; movedAt: number; lost: AbortController } | undefined;

const say = (text: string) => console.error(`${new Date().toISOString()} [${serverId}] ${text}`);
process.on("SIGTERM", () => { stopping = true; });
process.on("SIGINT", () => { stopping = true; });

/** A connection that is made again when it breaks. */
class Connection {
  #client: pg.Client | undefined;
  async get(): Promise<pg.Client> {
    if (this.#client) return this.#client;
    const client = new pg.Client({
      connectionString: process.env.DATABASE_URL, options: "-c TimeZone=UTC", connectionTimeoutMillis: 5000,
      query_timeout: 20000, keepAlive: true,
    });
    client.on("error", () => this.drop());
    await client.connect();
    return (this.#client = client);
  }
  drop(): void {
    const client = this.#client;
    this.#client = undefined;
    client?.end().catch(() => undefined);
  }
}
const main = new Connection(), side = new Connection();

/** Do it again until the database answers; what the database refuses is no outage. */
async function patiently<T>(action: (client: pg.Client) => Promise<T>): Promise<T> {
  for (let pause = 50; ; pause = Math.min(pause * 2, 5000)) {
    try {
      return await action(await main.get());
    } catch (error) {
      const state = (error as { code?: string }).code ?? "";
      const passing = !/^[0-9A-Z]{5}$/.test(state) || /^(08|40|53|57|58)/.test(state) || ["25006", "55P03", "23505"].includes(state);
      if (!passing) throw error;
      say(`${(error as Error).message}; trying again`);
      main.drop();
      await sleep(pause * (0.5 + Math.random() / 2));
    }
  }
}

// -- the lease ------------------------------------------------------------------------------

async function register(): Promise<void> {
  while (!stopping) {
    const [row] = await patiently((client) => run(client, "register", {
      server_id: serverId, boot, host: hostname(), pid: process.pid, version: "typescript-example", lease_seconds: leaseSeconds,
      on_orphan: "requeue", max_failures: policy.max_failures, stale_after_seconds: 3600,
    }));
    if (row) {
      epoch = row.epoch;
      lastBeat = Date.now();
      // An earlier boot of this ID is dead: what it held goes back, counted.
      for (const held of await patiently((client) => run(client, "held", { server_id: serverId }))) {
        if (BigInt(held.epoch) < BigInt(epoch)) await fail(held.id, held.token, "crashed", "the node was started again");
      }
      say(`registered, epoch ${epoch}`);
      return;
    }
    say("this server ID is alive elsewhere; waiting for its lease to end");
    await sleep(1000);
  }
}

let misses = 0;
async function beat(): Promise<void> {
  const mine = current;
  try {
    const [row] = await run(await side.get(), "heartbeat", {
      server_id: serverId, boot, token: mine?.token ?? "", progress_done: mine?.done ?? "", progress_total: mine?.total ?? "",
      progress_age_seconds: mine ? (Date.now() - mine.movedAt) / 1000 : "",
    });
    if (!row) {
      deposed = true;
      mine?.lost.abort();
      return;
    }
    lastBeat = Date.now();
    if (row.state === "draining") stopping = true;
    // One beat may cross a completion: two must agree.
    misses = mine && mine === current && !row.holds ? misses + 1 : 0;
    if (misses >= 2) mine?.lost.abort();
  } catch {
    side.drop();
    // Without a heartbeat for a whole lease others may have the file by now.
    if (Date.now() - lastBeat > leaseSeconds * 1000) mine?.lost.abort();
  }
}

// -- claims ---------------------------------------------------------------------------------

interface Claim { outcome: string; token: string; row?: File & { queued_at: string }; nextSeconds?: number }
let after = "-infinity", lookedAt = 0, claims = 0;

/** Where the next claim begins to look: behind the last one; every five seconds at the whole queue. */
function cursor(): string {
  if (Date.now() - lookedAt > 5000) { lookedAt = Date.now(); after = "-infinity"; }
  return after;
}

function took(token: string, row: File & { queued_at: string | Date }): Claim {
  claims++;
  after = row.queued_at instanceof Date ? row.queued_at.toISOString() : row.queued_at;
  return { outcome: "claimed", token, row: { ...row, queued_at: after } };
}

async function claim(): Promise<Claim> {
  if (stopping) return { outcome: "stopped", token: "" };
  const token = randomUUID(); // before asking: a lost answer can be looked up
  try {
    if (claims >= claimsPerEpoch) await rotate();
    for (const from of new Set([cursor(), "-infinity"])) {
      const [row] = await run(await main.get(), "claim", { server_id: serverId, boot, epoch, token, after: from });
      if (row!.outcome === "claimed") return took(token, row as File & { queued_at: string });
      if (row!.outcome !== "empty" || from === "-infinity") return { outcome: row!.outcome, token, nextSeconds: row!.next_seconds ?? undefined };
    }
  } catch (error) {
    say(`no answer to a claim (${(error as Error).message}); looking it up`);
    main.drop();
  }
  return lookUp(token);
}

/** Raising the epoch waits for a claim in flight, and makes one that is still on its way useless. */
async function rotate(): Promise<void> {
  const [row] = await patiently((client) => run(client, "advance", { server_id: serverId, boot }));
  if (!row) deposed = true;
  else { epoch = row.epoch; claims = 0; }
}

/** What became of a claim without an answer: what is held after the epoch was raised is all that will ever be. */
async function lookUp(token: string): Promise<Claim> {
  await rotate();
  if (deposed) return { outcome: "deposed", token };
  for (const row of await patiently((client) => run(client, "held", { server_id: serverId }))) {
    if (row.token === token) return took(token, row as File & { queued_at: string });
    if (BigInt(row.epoch) < BigInt(epoch)) await giveBack(row.id, row.token, "left behind by a claim whose answer was lost");
  }
  return { outcome: "empty", token, nextSeconds: 0 };
}

async function fail(id: string, token: string, outcome: string, error: string): Promise<void> {
  const [row] = await patiently((client) => run(client, "fail", {
    id, token, outcome, error, identity: "", wait_seconds: "", actor: serverId, ...policy,
  }));
  say(`file ${id}: ${error}; now ${row!.answer}`);
}

async function giveBack(id: string, token: string, reason: string): Promise<void> {
  await patiently((client) => run(client, "release", { id, token, reason, actor: serverId }));
}

/** Complete a file by itself; "again": an earlier try of ours is still in flight. */
async function complete(id: string, token: string, result: string): Promise<string> {
  for (;;) {
    const [row] = await patiently((client) => run(client, "complete", { id, token, result }));
    if (row!.answer !== "again") return row!.answer;
    await sleep(50);
  }
}

/** Complete a file in one transaction with rows of one's own: the fence first. */
async function completeWith(id: string, token: string, result: string, write: (client: pg.Client) => Promise<void>): Promise<string> {
  return patiently(async (client) => {
    try {
      await client.query("BEGIN");
      const [row] = await run(client, "complete", { id, token, result });
      if (row!.answer === "done") await write(client);
      // What the server says counts: COMMIT of an aborted transaction is answered with ROLLBACK.
      const ended = await client.query(row!.answer === "done" ? "COMMIT" : "ROLLBACK");
      if (row!.answer === "again") throw new Error("an earlier try is still in flight");
      if (row!.answer === "done" && ended.command !== "COMMIT") throw Object.assign(new Error("not committed"), { code: "XX000" });
      return row!.answer as string;
    } catch (error) {
      main.drop(); // which rolls back
      throw error;
    }
  });
}

// -- one file -------------------------------------------------------------------------------

async function one({ token, row }: Claim): Promise<Claim> {
  const file = row!, lost = new AbortController();
  const mine = (current = { token, done: "", total: "", movedAt: Date.now(), lost });
  try {
    const { result, write } = await work(file, token, (done, total) => {
      Object.assign(mine, { done: String(done), total: String(total), movedAt: Date.now() });
    }, lost.signal);
    const json = JSON.stringify(result ?? null);
    let answer: string;
    if (write) answer = await completeWith(file.id, token, json, write);
    else {
      const next = randomUUID();
      if (!stopping && claims < claimsPerEpoch) {
        try {
          const [found] = await run(await main.get(), "complete_and_claim", {
            server_id: serverId, boot, epoch, id: file.id, done_token: token, result: json, after: cursor(), token: next,
          });
          if (found) return took(next, found as File & { queued_at: Date } & { queued_at: string });
        } catch {
          main.drop();
          await complete(file.id, token, json);
          return lookUp(next); // both may have happened
        }
      }
      answer = await complete(file.id, token, json);
    }
    if (answer === "lost") say(`file ${file.id}: the claim is lost; its completion was refused`);
  } catch (error) {
    if (lost.signal.aborted) await giveBack(file.id, token, "the claim or the lease was lost");
    else await fail(file.id, token, error instanceof Reject ? "rejected" : "raised", String((error as Error).stack ?? error));
  } finally {
    current = undefined;
  }
  return claim();
}

await register();
const beating = setInterval(() => void beat(), (leaseSeconds * 1000) / 3);
let next = stopping ? { outcome: "stopped", token: "" } : await claim();
while (!deposed) {
  if (next.outcome === "claimed") {
    if (stopping && next.row) { await giveBack(next.row.id, next.token, "released while stopping"); break; }
    next = await one(next);
    continue;
  }
  if (stopping || next.outcome === "deposed" || (drain && next.outcome === "empty" && next.nextSeconds === undefined)) break;
  await sleep(Math.min(Math.max(next.nextSeconds ?? 1, 0.05), 1) * 1000 * (0.8 + 0.4 * Math.random()));
  next = await claim();
}
clearInterval(beating);
if (!deposed) await patiently((client) => run(client, "deregister", { server_id: serverId, boot, reason: "stopped" }));
main.drop();
side.drop();
say(deposed ? "deposed: another boot of this server ID is registered" : "done");
process.exit(deposed ? 1 : 0);
