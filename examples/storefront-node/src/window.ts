/** The shop window: always a list to show. Vitrine's, or the bestsellers if nothing comes in time. */
import { randomUUID } from "node:crypto";
import { statusOf } from "./vitrine.js";
import type { RecommendRequest, Reply, Vitrine } from "./vitrine.js";

/** A product whose price is not known now: a price of last night would be a promise. */
export interface Bestseller {
  productId: string;
  title: string;
}

/** What the page shows. */
export interface ShopWindow {
  reply: Reply | null; // null: nothing came, the bestsellers stand in
  bestsellers: Bestseller[];
  first: number; // 1-based position in the whole list, over all pages
  listId: string; // of this view: makes an event's key, so that a page sent twice counts once
  notes: string[]; // for whoever runs the shop: what the list was made without
}

const DEADLINE_MS = Number(process.env.RECOMMEND_TIMEOUT_MS ?? 250);
const PAGE_SIZE = 12;

/**
 * The list for one shopper and one placement; `first` is where a further page goes on.
 * Never fails for what Vitrine does or does not do.
 */
export async function arrange(
  vitrine: Vitrine,
  bestsellers: Bestseller[],
  request: RecommendRequest,
  first = 1,
): Promise<ShopWindow> {
  try {
    const reply = await vitrine.recommend({ pageSize: PAGE_SIZE, ...request }, DEADLINE_MS);
    const notes = reply.degraded.map(({ stage, reason }) => `${stage}: ${reason}`);
    return { reply, bestsellers: [], first, listId: reply.requestId, notes };
  } catch (error) {
    const status = statusOf(error);
    if (status === "INVALID_ARGUMENT" && request.pageToken) {
      // Pages are pinned and expire; whoever comes back late begins with the first.
      const begun = await arrange(vitrine, bestsellers, { ...request, pageToken: "" });
      return { ...begun, notes: ["page: EXPIRED", ...begun.notes] };
    }
    console.error("no list for %s: %s", request.placement, (error as Error).message);
    return { reply: null, bestsellers, first: 1, listId: randomUUID(), notes: [`window: ${status}`] };
  }
}
