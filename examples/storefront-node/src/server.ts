/** The server: three kinds of page, and what shoppers do on them told to Vitrine. */
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { page } from "./page.js";
import type { Choice } from "./page.js";
import { tokenOf, Vitrine } from "./vitrine.js";
import type { RecommendRequest } from "./vitrine.js";
import { arrange } from "./window.js";
import type { Bestseller } from "./window.js";

const DOOR = process.env.VITRINE ?? "127.0.0.1:9000";
const PORT = Number(process.env.PORT ?? 8080);
const BESTSELLERS = process.env.BESTSELLERS ?? "bestsellers.json";
const EVENT_DEADLINE_MS = 1_000; // an acknowledged event is on disk, which may take four attempts
const MAX_FORM_BYTES = 64 << 10; // a token has at most 16 kB

const vitrine = new Vitrine(DOOR, tokenOf());
const bestsellers: Bestseller[] = existsSync(BESTSELLERS)
  ? (JSON.parse(readFileSync(BESTSELLERS, "utf8")) as Bestseller[])
  : [];

class BadRequest extends Error {}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (!request.url?.startsWith("/")) throw new BadRequest("a page's address begins with /");
  const url = new URL(`http://shop${request.url}`);
  const form = request.method === "POST" ? await formOf(request) : url.searchParams;
  const visitorId = visitorOf(request) ?? randomUUID();
  const userId = form.get("user") ?? ""; // a real shop knows from its session who is logged in
  const who = { userId, visitorId, sessionId: visitorId };
  const show = async (ask: RecommendRequest, first = 1, choice?: Choice): Promise<void> => {
    const shown = await arrange(vitrine, bestsellers, { ...who, ...ask }, first);
    response.setHeader("Set-Cookie", `visitor=${visitorId}; HttpOnly; SameSite=Lax; Path=/`);
    send(response, 200, page(shown, userId, choice));
  };

  switch (`${request.method} ${url.pathname}`) {
    case "GET /":
      return show({ placement: "home" });
    case "POST /more": {
      const first = Math.trunc(Number(form.get("first"))) || 1;
      return show({ placement: "home", pageToken: form.get("page_token") ?? "" }, first);
    }
    case "POST /click": {
      const choice = choiceOf(form);
      await log("click", who, choice); // counts in the very next call, which is the next line
      return show({ placement: "product", contextProductIds: [choice.productId] }, 1, choice);
    }
    case "POST /purchase": {
      const choice = choiceOf(form);
      await log("purchase", who, choice);
      return show({ placement: "cart", contextProductIds: [choice.productId] });
    }
    default:
      return send(response, 404, "There is no such page.");
  }
}

/** Tells what a shopper did. The same button of the same list counts once, however often it comes. */
async function log(type: string, who: RecommendRequest, choice: Choice): Promise<void> {
  const { productId, position, listId, token: attributionToken } = choice;
  const { userId, visitorId, sessionId } = who;
  const idempotencyKey = `${listId}:${type}:${position}`; // of a purchase: better your order number
  const event = { idempotencyKey, type, userId, visitorId, sessionId, productId, position, attributionToken };
  try {
    await vitrine.logEvents([{ ...event, quantity: type === "purchase" ? 1 : 0 }], EVENT_DEADLINE_MS);
  } catch (error) {
    // The shopper goes on all the same. What must not be lost (orders) belongs into your own queue.
    console.error("lost: %s of %s: %s", type, productId, (error as Error).message);
  }
}

function choiceOf(form: URLSearchParams): Choice {
  try {
    const { productId, position, title } = JSON.parse(form.get("choice") ?? "") as Record<string, unknown>;
    if (typeof productId === "string" && typeof title === "string" && Number.isInteger(position)) {
      const [listId, token] = [form.get("list") ?? "", form.get("token") ?? ""];
      return { productId, title, position: position as number, listId, token };
    }
  } catch {
    // below
  }
  throw new BadRequest("choice: must be what the page's buttons send");
}

async function formOf(request: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_FORM_BYTES) throw new BadRequest(`a form has at most ${MAX_FORM_BYTES} bytes`);
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString("utf8"));
}

function visitorOf(request: IncomingMessage): string | undefined {
  return /(?:^|;\s*)visitor=([0-9a-f-]{36})(?:;|$)/.exec(request.headers.cookie ?? "")?.[1];
}

function send(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
  });
  response.end(body);
}

const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => {
    if (!(error instanceof BadRequest)) console.error(error);
    const [status, text] = error instanceof BadRequest ? [400, error.message] : [500, "A bug of ours."];
    send(response, status, text);
  });
});
server.listen(PORT, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  console.log(`the shop window is at http://127.0.0.1:${port}, arranged by ${DOOR}`);
});
process.once("SIGTERM", () => {
  server.close(() => vitrine.close()); // whoever is being answered still gets a page
  server.closeIdleConnections();
});
