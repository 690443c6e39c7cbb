/**
 * What the scripted upstream does with one call. Plain data, so that it can stand in a JSON file. Every field may be
 * left out; `{}` answers with a sentence, at once and completely. Times are milliseconds.
 */
export interface Script {
  /** HTTP status. From 300 on no answer is made: `error` or `rawBody` is sent instead. Default 200. */
  readonly status?: number
  /** Sent besides, or in place of, the usual headers: `retry-after`, `x-ratelimit-*`, `set-cookie` (several: an array), … */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  /** What the error body says where it should differ from OpenAI's own words for the status. With a status of 200 the error is sent all the same. */
  readonly error?: Partial<ErrorBody>
  /** Sent as it is, instead of any answer: HTML, broken JSON, or (with a `content-type` in `headers`) broken events. */
  readonly rawBody?: string

  readonly headersAfterMs?: number
  readonly firstEventAfterMs?: number
  readonly betweenEventsMs?: number
  /** Where to wait for `sim.open(gate)`. A plain name waits before the headers. */
  readonly hold?: string | Hold | readonly Hold[]

  /** The answer's text. */
  readonly text?: string
  /** In how many pieces the text, or the arguments of the tool call, arrive. Default 4. */
  readonly deltas?: number
  /** Tokens of output, reasoning included. Without `text` as much text is made up; with it, the text counts as that many. */
  readonly outputTokens?: number
  /** Answers with a function call; with `text` as well, with the text first. */
  readonly toolCall?: { readonly name: string; readonly arguments: string }
  /** Tokens of reasoning, in an item of its own before the answer. They are a part of the output tokens. */
  readonly reasoning?: number
  /** How many searches of the web come before the answer, as items and in `tool_usage`. */
  readonly webSearches?: number
  /** Adds an image item with one `partial_image` event of about so many bytes. Images cost no tokens here. */
  readonly hugeEventBytes?: number
  /** The model that is reported, such as a dated snapshot. Default: the one asked for. */
  readonly model?: string
  /** The tier that is reported at the end. Default: the one asked for, and `default` for `auto`. */
  readonly serviceTier?: string
  /** The conversation that is reported, which exists from then on. Default: the one asked for. */
  readonly conversation?: string
  readonly cachedTokens?: number
  readonly cacheWriteTokens?: number
  /** Replaces members of the reported usage; null: none is reported, while the invoice still charges what was used. */
  readonly usage?: UsageOverride | null

  /** How the answer ends. Default `completed`; longer than `max_output_tokens` it ends `incomplete` instead. */
  readonly end?: End
  /**
   * The end comes after so many events, 0 being before the first. Not for `completed`. Default: after all but the terminal one. A broken
   * end of a chat completion that comes after more than there are lacks nothing but `[DONE]`: the usage has been told.
   */
  readonly afterEvents?: number
  /** For `cut`, `eof`, `stall` and `reset`: the end comes after so many bytes of the body, JSON or stream. Default for JSON: half of it. */
  readonly afterBytes?: number
  /** For `cut`, `eof`, `stall` and `reset`: the end comes in place of the headers. */
  readonly noHeaders?: boolean
  /** For the ends `failed` and `error`. Default: `server_error`. */
  readonly failure?: { readonly code?: string; readonly message?: string; readonly param?: string | null }
  /** The first event is `error`, and the stream ends. */
  readonly errorFirst?: boolean

  /** Ends the stream with `data: [DONE]`, as some servers do. */
  readonly doneMarker?: boolean
  /** Sends the comment `: ping` before each event, the first included. */
  readonly comments?: boolean
  /** Lines end in CR LF. */
  readonly crlf?: boolean
  /** Writes the body in chunks of so many bytes, wherever that cuts it. */
  readonly chunkBytes?: number
  /** Leaves out the `event:` lines. */
  readonly omitEventLines?: boolean
  /** Keeps the connection open for so long after the terminal event. */
  readonly linger?: number
  /** Takes references to items that nobody has, as if they were empty. */
  readonly anyItems?: boolean

  /**
   * For benchmarks: the answer is made once, and then only its ids change. The usage is that of the first such call.
   * Of the rest only headers, delays and what the answer says are honoured: no faults, holds or `max_output_tokens`, no
   * memory, and a client that leaves is charged nothing.
   */
  readonly fast?: boolean
}

/**
 * `completed`, `incomplete`, `failed`: the terminal event of that name. `cancelled`: that status, which has no event of its own and comes
 * in `response.incomplete`. `error`: the event `error`, then a clean end.
 * `cut`: the socket is destroyed. `reset`: the same with a RST, which may overtake what was sent before. `eof`: a clean
 * end without a terminal event. `stall`: nothing more, for ever. As JSON, `error` is `failed`.
 *
 * Over a WebSocket the broken ends end the socket, `eof` with a closing frame. Of a response in the background they end the
 * connection that is being told of it; the response itself is completed. In a chat completion the events are chunks, and
 * `failed` and `error` both a chunk with an error; as JSON they are HTTP 500.
 */
export type End = 'completed' | 'incomplete' | 'failed' | 'cancelled' | 'error' | 'cut' | 'eof' | 'stall' | 'reset'

/** `at`: before the headers, before the first event (or the JSON body), or after so many events. Default `headers`. */
export interface Hold {
  readonly gate: string
  readonly at?: 'headers' | 'firstEvent' | number
}

export interface ErrorBody {
  readonly type: string
  readonly code: string | null
  readonly message: string
  readonly param: string | null
}

/** In the words of the wire. `total_tokens` follows unless given. null leaves the details out. */
export interface UsageOverride {
  readonly input_tokens?: number
  readonly input_tokens_details?: Readonly<Record<string, unknown>> | null
  readonly output_tokens?: number
  readonly output_tokens_details?: Readonly<Record<string, unknown>> | null
  readonly total_tokens?: number
}

/**
 * Which requests a script answers. The closest wins: key and model, key, model, everybody. A script without a `route` is for
 * whatever makes an answer: responses (over a WebSocket, each of them), compactions, chat completions and embeddings.
 */
export interface ScriptTarget {
  /** The upstream key, as presented in `Authorization: Bearer` or `api-key`. */
  readonly key?: string
  readonly model?: string
  /** These requests only, and before all scripts without one. Of a script for a route that makes no answer only its faults, headers and waits count. */
  readonly route?: Route
}

/** `websocket` is the upgrade; `conversations` are all paths below that one. */
export type Route = (typeof routeNames)[number]

export const routeNames = [
  'responses',
  'retrieve',
  'delete',
  'cancel',
  'inputItems',
  'compact',
  'inputTokens',
  'conversations',
  'websocket',
  'chat',
  'embeddings',
  'models',
] as const

export interface ScriptBook {
  /** Replaces what stood for the same target. A list is used up call by call; its last script stays. */
  set(target: ScriptTarget, script: Script | readonly Script[]): void
  next(key: string, model: string, route: Route): Script
}

/** The ends that come without a terminal event of a response. */
export function isBroken(end: End): end is 'cut' | 'eof' | 'stall' | 'reset' {
  return end === 'cut' || end === 'eof' || end === 'stall' || end === 'reset'
}

const plain: Script = {}

const makingAnswers: readonly Route[] = ['responses', 'compact', 'chat', 'embeddings']

interface ScriptList {
  readonly scripts: readonly Script[]
  next: number
}

export function openScriptBook(): ScriptBook {
  const forAnswers = new Map<string, ScriptList>()
  const byRoute = new Map<Route, Map<string, ScriptList>>()
  return {
    set({ key, model, route }, script) {
      const scripts: readonly Script[] = isList(script) ? script : [script]
      let lists = forAnswers
      if (route !== undefined) byRoute.set(route, (lists = byRoute.get(route) ?? new Map()))
      lists.set(nameOf(key, model), { scripts, next: 0 })
    },
    next(key, model, route) {
      const lists = byRoute.get(route)
      const found = (lists && closest(lists, key, model)) ?? (makingAnswers.includes(route) ? closest(forAnswers, key, model) : undefined)
      if (found === undefined) return plain
      const script = found.scripts[Math.min(found.next, found.scripts.length - 1)]
      found.next += 1
      return script ?? plain
    },
  }
}

function closest(lists: ReadonlyMap<string, ScriptList>, key: string, model: string): ScriptList | undefined {
  return (
    lists.get(nameOf(key, model)) ??
    lists.get(nameOf(key, undefined)) ??
    lists.get(nameOf(undefined, model)) ??
    lists.get(nameOf(undefined, undefined))
  )
}

function nameOf(key: string | undefined, model: string | undefined): string {
  return JSON.stringify([key ?? null, model ?? null])
}

function isList(script: Script | readonly Script[]): script is readonly Script[] {
  return Array.isArray(script)
}
