/** The page as HTML: titles, prices, why each product is there. Everything from outside is escaped. */
import type { RecommendedProduct__Output as Product } from "./generated/vitrine/v1/RecommendedProduct.js";
import type { Reason__Output as Reason } from "./generated/vitrine/v1/Reason.js";
import type { ShopWindow } from "./window.js";

/** A product that the shopper looks at, and the list that it was chosen from. */
export interface Choice {
  productId: string;
  title: string;
  position: number; // 1-based, in that list
  listId: string;
  token: string; // its attribution token: says which models and arms are to be praised
}

const WHY: Record<Reason, string> = {
  REASON_UNSPECIFIED: "",
  PERSONALISED: "picked for you",
  SIMILAR: "because of what you looked at",
  PROMOTED: "our recommendation",
  EXPLORATION: "something new",
  POPULAR: "much loved",
  FALLBACK: "a bestseller",
  NEW: "just arrived",
  MATCHED: "what you searched for",
};
const FEW_LEFT = 5;
const STYLE = `body{font:16px/1.4 system-ui;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
ol{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1rem;padding:0;list-style:none}
li{border:1px solid #ddd;border-radius:.5rem;padding:1rem}small,s{color:#777}
.price{font-weight:600}.note{background:#fff3cd;padding:.3rem .6rem}`;

const formatters = new Map<string, Intl.NumberFormat>();

/** 1999 and "EUR" as "€19.99"; each currency has its own number of minor digits. */
export function formatPrice(minor: number, currency: string): string {
  let formatter = formatters.get(currency);
  if (formatter === undefined) {
    formatter = new Intl.NumberFormat("en", { style: "currency", currency });
    formatters.set(currency, formatter);
  }
  return formatter.format(minor / 10 ** (formatter.resolvedOptions().maximumFractionDigits ?? 2));
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

/** A whole page: what the shopper looks at, if anything, and the window under it. */
export function page(shown: ShopWindow, shopper: string, choice?: Choice): string {
  const { reply, bestsellers, first, notes } = shown;
  const cards = reply
    ? reply.items.map((item, at) => card(item, reply.currency, first + at))
    : bestsellers.map(({ productId, title }, at) =>
        item(productId, first + at, title, `<p><small>${WHY.FALLBACK}</small></p>`),
      );
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>A shop window</title>
<style>${STYLE}</style><h1><a href="/?user=${encodeURIComponent(shopper)}">The shop</a></h1>
${choice ? chosen(choice, shopper) : ""}
<form method="post" action="/click">${hidden({ user: shopper, list: shown.listId, token: reply?.attributionToken ?? "" })}
<ol>${cards.join("\n")}</ol></form>
${reply?.nextPageToken ? more(reply.nextPageToken, shopper, first + reply.items.length) : ""}
${notes.map((note) => `<p class="note">${escaped(note)}</p>`).join("\n")}</html>`;
}

function card(product: Product, currency: string, position: number): string {
  const was =
    product.listPriceMinor > product.priceMinor
      ? `<s>${formatPrice(product.listPriceMinor, currency)}</s> `
      : "";
  const few =
    product.stock !== undefined && product.stock <= FEW_LEFT ? ` <small>only ${product.stock} left</small>` : "";
  const price = `<p class="price">${was}${formatPrice(product.priceMinor, currency)}${few}</p>`;
  const why = `<p><small>${WHY[product.reason]}</small></p>`;
  return item(product.productId, position, product.title, price + why);
}

function item(productId: string, position: number, title: string, body: string): string {
  const value = escaped(JSON.stringify({ productId, position, title }));
  return `<li data-product="${escaped(productId)}"><b>${escaped(title)}</b>${body}
<button name="choice" value="${value}">Look</button></li>`;
}

function chosen({ productId, title, position, listId, token }: Choice, shopper: string): string {
  const value = escaped(JSON.stringify({ productId, position, title }));
  return `<h2>${escaped(title)}</h2><form method="post" action="/purchase">
${hidden({ user: shopper, list: listId, token })}<button name="choice" value="${value}">Buy</button></form>`;
}

function more(pageToken: string, shopper: string, first: number): string {
  const fields = { user: shopper, page_token: pageToken, first: String(first) };
  return `<form method="post" action="/more">${hidden(fields)}<button>More</button></form>`;
}

function hidden(fields: Record<string, string>): string {
  return Object.entries(fields)
    .map(([name, value]) => `<input type="hidden" name="${name}" value="${escaped(value)}">`)
    .join("");
}
