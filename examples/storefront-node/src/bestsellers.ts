/**
 * Writes the list that is shown when nothing comes: what Vitrine shows a stranger, without prices.
 *
 *     npm run bestsellers      (nightly; BESTSELLERS names the file)
 */
import { writeFileSync } from "node:fs";
import { tokenOf, Vitrine } from "./vitrine.js";

const vitrine = new Vitrine(process.env.VITRINE ?? "127.0.0.1:9000", tokenOf());
const reply = await vitrine.recommend({ placement: "home", pageSize: 24 }, 5_000);
vitrine.close();
const kept = reply.items.map(({ productId, title }) => ({ productId, title }));
const file = process.env.BESTSELLERS ?? "bestsellers.json";
writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`);
console.log(`${kept.length} products in ${file}`);
