import type { Multiplier } from '../ledger/price.ts'

/** Requests and tokens in any minute; null is no limit. */
export interface Rates {
  readonly requestsPerMinute: number | null
  readonly tokensPerMinute: number | null
}

export interface User extends Rates {
  readonly id: string
  readonly email: string
  /** Calls at once; 0 or less is no limit. */
  readonly concurrency: number
  readonly disabled: boolean
  readonly walletId: string
  readonly createdAtMs: number
}

export interface Key extends Rates {
  readonly id: string
  readonly userId: string
  readonly name: string
  /** The first and last characters of the secret, to tell keys apart. */
  readonly hint: string
  /** In the order in which they are tried. */
  readonly groupIds: readonly string[]
  /** Calls at once; null or 0 or less is no limit of its own. */
  readonly concurrency: number | null
  /** Addresses or CIDR ranges. An empty allow-list allows all; the deny-list wins. */
  readonly allowAddresses: readonly string[]
  readonly denyAddresses: readonly string[]
  readonly expiresAtMs: number | null
  readonly disabled: boolean
  readonly createdAtMs: number
}

export interface Group {
  readonly id: string
  readonly name: string
  readonly multiplier: Multiplier
  readonly pays: 'balance' | 'subscription'
  /** What a model without a price means here. */
  readonly unpriced: 'refuse' | 'free'
  /** What becomes of an answer whose client left. */
  readonly onClientLeft: 'drain' | 'abort'
  /** After so long without the first event of a stream, an account that is free is asked instead. Milliseconds; null is never. */
  readonly firstEventLimitMs: number | null
  readonly createdAtMs: number
}

/** A credential at an upstream, as the operator wrote it; how it fares is its condition. */
export interface Account extends Rates {
  readonly id: string
  readonly name: string
  readonly provider: 'openai'
  /** With or without `/v1`, never with a slash at the end. */
  readonly baseUrl: string
  readonly apiKey: string
  /** Calls at once; 0 or less is no limit. */
  readonly concurrency: number
  /** Lower is chosen first. */
  readonly priority: number
  readonly weight: number
  readonly groupIds: readonly string[]
  /** Accounts of the same organisation read each other's encrypted reasoning. Null: this account's alone. */
  readonly organization: string | null
  /** Requested name → upstream name; when not empty, also the list of what it serves. */
  readonly models: Readonly<Record<string, string>>
  readonly capabilities: Capabilities
  /** An outbound HTTP proxy, or null. */
  readonly proxy: string | null
  readonly allowPrivateAddress: boolean
  /** The tier that `service_tier: "auto"` means at this upstream. */
  readonly defaultTier: string
  readonly disabled: boolean
  readonly createdAtMs: number
}

/** Where servers that speak the protocol differ (Azure, vLLM, Ollama, Groq, …). */
export interface Capabilities {
  /** Which of the protocols it speaks. */
  readonly responses: boolean
  readonly chat: boolean
  readonly embeddings: boolean
  /** Speaks the Responses API over a WebSocket, too. */
  readonly websocket: boolean
  /** Goes on with a response whose caller has gone (`background: true`), and compacts a conversation when asked to. */
  readonly background: boolean
  readonly compact: boolean
  /** Keeps responses: `previous_response_id`, `store` and item references work. */
  readonly stateful: boolean
  /** How the credential is sent: `authorization: Bearer …`, or Azure's `api-key: …`. */
  readonly auth: 'bearer' | 'api-key'
  /** Accepts `safety_identifier`, which is then set to a hash of the user when the client sent none. */
  readonly safetyIdentifier: boolean
  /** Accepts `service_tier` other than auto and default. */
  readonly serviceTiers: boolean
  /** Runs hosted tools: web search, file search, code interpreter, image generation. */
  readonly hostedTools: boolean
}

export const defaultCapabilities: Capabilities = {
  responses: true,
  chat: true,
  embeddings: true,
  websocket: false,
  background: true,
  compact: true,
  stateful: true,
  auth: 'bearer',
  safetyIdentifier: false,
  serviceTiers: true,
  hostedTools: true,
}

/** A user's share of a group for a time. Limits are nano-dollars; null is no limit. */
export interface Subscription {
  readonly id: string
  readonly userId: string
  readonly groupId: string
  readonly startsAtMs: number
  readonly endsAtMs: number
  readonly dailyLimit: bigint | null
  readonly weeklyLimit: bigint | null
  readonly monthlyLimit: bigint | null
}
