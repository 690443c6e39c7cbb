import { z } from 'zod'
import type { SimPrice } from './invoice.ts'
import type { SocketLimits } from './parts.ts'
import { routeNames, type Script, type ScriptTarget } from './script.ts'

/** What a script file holds: the scripts, and the options of the same names. `{"scripts": [{"key"?, "model"?, "route"?, "script": {…} or [{…}, …]}], "prices"?: {…}, "models"?: […], "organisations"?: {…}, "websocket"?: false | {…}}`. */
export interface ScriptFile {
  readonly scripts: readonly (ScriptTarget & { readonly script: Script | readonly Script[] })[]
  readonly prices?: Readonly<Record<string, SimPrice>>
  readonly models?: readonly string[]
  readonly organisations?: Readonly<Record<string, string>>
  readonly websocket?: false | Partial<SocketLimits>
}

/** Throws a sentence that names what is wrong. */
export function readScriptFile(text: string): ScriptFile {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new Error(`the script file is not JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  const read = fileSchema.safeParse(value)
  if (read.success) return read.data
  const [first] = read.error.issues
  throw new Error(`the script file is wrong at ${first?.path.join('.') || 'its top'}: ${first?.message}`)
}

const count = z.int().min(0).exactOptional()
const flag = z.boolean().exactOptional()
const text = z.string().exactOptional()
const details = z.record(z.string(), z.unknown()).nullable().exactOptional()

const errorSchema = z.strictObject({
  type: text,
  code: z.string().nullable().exactOptional(),
  message: text,
  param: z.string().nullable().exactOptional(),
})

const holdSchema = z.strictObject({
  gate: z.string(),
  at: z.union([z.literal(['headers', 'firstEvent']), z.int().min(0)]).exactOptional(),
})

const usageSchema = z.strictObject({
  input_tokens: count,
  input_tokens_details: details,
  output_tokens: count,
  output_tokens_details: details,
  total_tokens: count,
})

/** Every field of a script, and no other: the compiler sees to both. */
const scriptFields = {
  status: z.int().min(200).max(599).exactOptional(),
  headers: z.record(z.string(), z.union([z.string(), z.array(z.string())])).exactOptional(),
  error: errorSchema.exactOptional(),
  rawBody: text,
  headersAfterMs: count,
  firstEventAfterMs: count,
  betweenEventsMs: count,
  hold: z.union([z.string(), holdSchema, z.array(holdSchema)]).exactOptional(),
  text,
  deltas: z.int().min(1).exactOptional(),
  outputTokens: count,
  toolCall: z.strictObject({ name: z.string(), arguments: z.string() }).exactOptional(),
  reasoning: count,
  webSearches: count,
  hugeEventBytes: count,
  model: text,
  serviceTier: text,
  conversation: text,
  cachedTokens: count,
  cacheWriteTokens: count,
  usage: usageSchema.nullable().exactOptional(),
  end: z.literal(['completed', 'incomplete', 'failed', 'cancelled', 'error', 'cut', 'eof', 'stall', 'reset']).exactOptional(),
  afterEvents: count,
  afterBytes: count,
  noHeaders: flag,
  failure: z.strictObject({ code: text, message: text, param: z.string().nullable().exactOptional() }).exactOptional(),
  errorFirst: flag,
  doneMarker: flag,
  comments: flag,
  crlf: flag,
  chunkBytes: z.int().min(1).exactOptional(),
  omitEventLines: flag,
  linger: count,
  anyItems: flag,
  fast: flag,
} satisfies Record<keyof Script, z.ZodType>

const scriptSchema = z.strictObject(scriptFields) satisfies z.ZodType<Script>

/** One script is a list of one; so a mistake is told where it stands. */
const scriptsSchema = z.preprocess(value => (Array.isArray(value) ? value : [value]), z.array(scriptSchema).min(1))

const usd = z.string().regex(/^\d+(\.\d{1,9})?$/, 'USD per million tokens must be decimal text such as "2.50"')
const rates = {
  input: usd,
  cached: usd.exactOptional(),
  cacheWrite: usd.exactOptional(),
  cacheWrite12h: usd.exactOptional(),
  output: usd,
  webSearch: usd.exactOptional(),
}

const limit = z.int().min(1)

const fileSchema = z.strictObject({
  scripts: z.array(z.strictObject({ key: text, model: text, route: z.literal(routeNames).exactOptional(), script: scriptsSchema })),
  prices: z
    .record(z.string(), z.strictObject({ ...rates, tiers: z.record(z.string(), z.strictObject(rates)).exactOptional() }))
    .exactOptional(),
  models: z.array(z.string()).exactOptional(),
  organisations: z.record(z.string(), z.string()).exactOptional(),
  websocket: z
    .union([
      z.literal(false),
      z.strictObject({ connectionMs: limit.exactOptional(), inFlightMax: limit.exactOptional(), lanesMax: limit.exactOptional() }),
    ])
    .exactOptional(),
}) satisfies z.ZodType<ScriptFile>
