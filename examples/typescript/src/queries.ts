// opskit's statements, as `opskit query NAME` prints them for psql: read for node-postgres.
import { readFileSync } from "node:fs";
import type { ClientBase, QueryResultRow } from "pg";

const prefix = process.env.OPSKIT_ENV === "production" ? "" : "dev_";
const files = prefix + (process.env.OPSKIT_TABLE || "uploaded_files");
const beside = process.env.OPSKIT_TABLE && process.env.OPSKIT_TABLE !== "uploaded_files" ? `${files}_opskit` : `${prefix}processing`;
const names: Record<string, string> = {
  files, nodes: `${beside}_nodes`, events: `${beside}_events`, pauses: `${beside}_pauses`, channel: `opskit_${files}`,
};

// What is quoted or commented out holds no variables, and a cast is none.
const token = /--[^\n]*|'(?:[^']|'')*'|(?<!:)"(?:[^"]|"")*"|::|:"(\w+)"|:'(\w+)'/g;

interface Statement { text: string; order: string[] }
const read = new Map<string, Statement>();

function statement(name: string): Statement {
  const known = read.get(name);
  if (known) return known;
  const lines = readFileSync(new URL(`../sql/${name}.sql`, import.meta.url), "utf8").split("\n");
  // What comes before the last of psql's own lines is for psql.
  const begin = lines.reduce((last, line, number) => (line.startsWith("\\") ? number : last), -1) + 1;
  const order: string[] = [];
  const text = lines.slice(begin).join("\n").replace(token, (found, identifier?: string, value?: string) => {
    if (identifier) return `"${names[identifier]!.replaceAll('"', '""')}"`;
    if (!value) return found;
    if (!order.includes(value)) order.push(value);
    return `$${order.indexOf(value) + 1}`;
  });
  read.set(name, { text, order });
  return read.get(name)!;
}

/** Run one of opskit's statements; every value travels as text. */
export async function run(client: ClientBase, name: string, values: Record<string, string | number>): Promise<QueryResultRow[]> {
  const { text, order } = statement(name);
  const bound = order.map((key) => String(values[key] ?? names[key] ?? ""));
  return (await client.query(text, bound)).rows;
}
