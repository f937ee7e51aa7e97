/**
 * Vitrine: the recommendations door, as a storefront asks it.
 *
 * Every call has a deadline. What may be asked again is asked again by gRPC itself, as
 * `service_config.json` says: UNAVAILABLE and RESOURCE_EXHAUSTED, after the wait that the door names.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import type { ProtoGrpcType } from "./generated/recommendations.js";
import type { Event } from "./generated/vitrine/v1/Event.js";
import type { LogEventsResponse__Output as Receipt } from "./generated/vitrine/v1/LogEventsResponse.js";
import type { RecommendationsClient } from "./generated/vitrine/v1/Recommendations.js";
import type { RecommendRequest } from "./generated/vitrine/v1/RecommendRequest.js";
import type { RecommendResponse__Output as Reply } from "./generated/vitrine/v1/RecommendResponse.js";
import type { RerankRequest } from "./generated/vitrine/v1/RerankRequest.js";
import type { RerankResponse__Output as Reranked } from "./generated/vitrine/v1/RerankResponse.js";

export type { Event, RecommendRequest, Receipt, Reply, Reranked, RerankRequest };

// In a shop of your own: copies of these two files, from the release of Vitrine that you call.
const PROTO_ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const PROTO = "serving/proto/recommendations.proto";
const SERVICE_CONFIG = new URL("../../../serving/proto/service_config.json", import.meta.url);

// The flags of the `types` script in package.json: what is generated is what is loaded.
const AS_TYPED = { longs: Number, enums: String, defaults: true, oneofs: true };

type Answer<T> = (error: grpc.ServiceError | null, reply?: T) => void;

/** One channel to one door: make it once, and share it between all requests. */
export class Vitrine {
  private readonly stub: RecommendationsClient;
  private readonly metadata = new grpc.Metadata();

  /** With `grpc.credentials.createSsl(…)` for a door that speaks TLS, and a token for one that asks who calls. */
  constructor(address: string, token?: string, credentials = grpc.credentials.createInsecure()) {
    if (token !== undefined) this.metadata.set("authorization", `Bearer ${token}`);
    const definition = loadSync(PROTO, { ...AS_TYPED, includeDirs: [PROTO_ROOT] });
    const loaded = grpc.loadPackageDefinition(definition) as unknown as ProtoGrpcType;
    this.stub = new loaded.vitrine.v1.Recommendations(address, credentials, {
      "grpc.service_config": readFileSync(SERVICE_CONFIG, "utf8"),
      "grpc.enable_http_proxy": 0, // the door stands in our own network
    });
  }

  /** A ranked list. Rejects with a grpc.ServiceError after `timeoutMs` at the latest. */
  recommend(request: RecommendRequest, timeoutMs: number): Promise<Reply> {
    return within(timeoutMs, (deadline, answer) =>
      this.stub.recommend(request, this.metadata, deadline, answer),
    );
  }

  /** The products of a list of the shop's own, such as search results, in the order of this shopper's lists. */
  rerank(request: RerankRequest, timeoutMs: number): Promise<Reranked> {
    return within(timeoutMs, (deadline, answer) =>
      this.stub.rerank(request, this.metadata, deadline, answer),
    );
  }

  /** Resolves once the events are on disk. An event with the same key again counts once. */
  logEvents(events: Event[], timeoutMs: number): Promise<Receipt> {
    return within(timeoutMs, (deadline, answer) =>
      this.stub.logEvents({ events }, this.metadata, deadline, answer),
    );
  }

  close(): void {
    this.stub.close();
  }
}

/** The token in the file that the environment names, as `vitrine token create --out` writes it. */
export function tokenOf(file = process.env.VITRINE_TOKEN_FILE): string | undefined {
  return file === undefined ? undefined : readFileSync(file, "utf8").trim();
}

function within<T>(
  timeoutMs: number,
  call: (options: grpc.CallOptions, answer: Answer<T>) => unknown,
): Promise<T> {
  return new Promise((resolve, reject) => {
    call({ deadline: Date.now() + timeoutMs }, (error, reply) =>
      reply === undefined ? reject(error) : resolve(reply),
    );
  });
}

/** The status of a failed call by name, as "UNAVAILABLE"; other errors are bugs and thrown on. */
export function statusOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const name = typeof code === "number" ? grpc.status[code] : undefined;
  if (name === undefined) throw error;
  return name;
}
