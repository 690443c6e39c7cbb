import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'

/** Where a call goes, and whose key it brings unless another is named. */
export interface Target {
  readonly url: string
  readonly key: string
}

export interface Asked {
  /** Default POST. */
  readonly method?: string
  /** With its query string. Default /v1/responses. */
  readonly path?: string
  /** Win over the client's own `content-type` and `authorization`. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  /** An object is written as JSON. Default: the model `sim` and one word of input. */
  readonly body?: object | string | Buffer
  /** Default: the target's. null sends none. */
  readonly key?: string | null
  /** Sends the body in pieces of so many bytes, chunked, without a content-length. */
  readonly pieceBytes?: number
  /** Aborted, the connection is destroyed, and whoever waits for something on it hears that it broke. */
  readonly signal?: AbortSignal
}

/** What came from outside, and is only compared. */
export type Json = Readonly<Record<string, unknown>>

/** A whole answer. */
export interface Answer {
  /** 0 when the connection ended before the headers. */
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly bytes: Buffer
  /** The body as a JSON object; empty when it is none. */
  readonly json: Json
  /** `json.error`, of a refusal; empty when there is none. */
  readonly error: Json
  /** `broken`: the connection ended before the answer did. */
  readonly ending: 'whole' | 'broken'
}

export interface StreamEvent {
  /** `comment` for a comment, else the event's `type`; `done` for `[DONE]`. */
  readonly type: string
  /** The `event:` line; undefined when there was none. */
  readonly name: string | undefined
  /** The event's JSON; empty for a comment. */
  readonly data: Json
  /** `data.response`; empty when there is none. */
  readonly response: Json
  /** The exact text, without the blank line that ends it. */
  readonly raw: string
}

export interface Beginning {
  readonly status: number
  readonly headers: IncomingHttpHeaders
}

/** An answer that is read event by event. */
export interface OpenStream extends AsyncDisposable {
  /** Resolves with the headers. Rejects when the connection ends before them. */
  readonly begun: Promise<Beginning>
  /** The next event or comment; undefined when the body has ended. Rejects when the connection breaks. */
  next(): Promise<StreamEvent | undefined>
  /** Reads on until an event of this type and returns it. Throws when the body ends first. */
  until(type: string): Promise<StreamEvent>
  /** All events still to come, comments too. */
  rest(): Promise<StreamEvent[]>
  /** All that came so far. */
  readonly text: string
  /** Reads nothing any more, until `resume`. */
  pause(): void
  resume(): void
  /** Goes away: the connection is destroyed. */
  leave(): void
}

/** One call on a connection of its own, and its whole answer. Never rejects: a broken connection is an answer's ending. */
export async function send(target: Target, asked: Asked = {}): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>()
  const outgoing = open(target, asked, asked.body ?? { model: 'sim', input: 'hello' })
  const chunks: Buffer[] = []
  let response: IncomingMessage | undefined
  const end = (ending: Answer['ending']) => {
    const bytes = Buffer.concat(chunks)
    const body = bytes.toString()
    const json = parsed(body)
    resolve({ status: response?.statusCode ?? 0, headers: response?.headers ?? {}, body, bytes, json, error: asObject(json.error), ending })
  }
  outgoing.on('error', () => response === undefined && end('broken'))
  outgoing.on('response', incoming => {
    response = incoming
    incoming.on('data', (chunk: Buffer) => void chunks.push(chunk))
    incoming.on('end', () => end('whole'))
    incoming.on('error', () => end('broken'))
  })
  return promise
}

/** All that a refusal says, to be compared at once. */
export interface Refusal {
  readonly status: number
  readonly type: unknown
  readonly code: unknown
  readonly param: unknown
  readonly message: unknown
  /** `later`: Retry-After is 1 to 60 whole seconds. `never`: x-should-retry is false. `unsaid`: neither. Else what the headers say. */
  readonly retry: string
}

/** Throws unless the answer has a call id for `x-request-id`, and OpenAI's shape. */
export function refusalOf({ status, headers, json, body }: Answer): Refusal {
  const { 'x-request-id': id, 'retry-after': after, 'x-should-retry': should, 'content-type': type } = headers
  if (!/^[0-9a-f-]{36}$/.test(String(id))) throw new Error(`no call id, but "${id}": ${status} ${body}`)
  if (type !== 'application/json' || Object.keys(json).join() !== 'error') throw new Error(`not OpenAI's shape: ${type} ${body}`)
  const { type: kind, code, param, message, ...more } = asObject(json.error)
  if (Object.keys(more).length > 0) throw new Error(`not OpenAI's shape: ${body}`)
  const isLater = after !== undefined && /^\d+$/.test(after) && Number(after) >= 1 && Number(after) <= 60
  const words = { '-': 'unsaid', 'later-': 'later', '-false': 'never' }
  const said = `${isLater ? 'later' : (after ?? '')}-${should ?? ''}`
  return { status, type: kind, code, param, message, retry: words[said as keyof typeof words] ?? said }
}

/** One streaming call. `asked.body` is `{ model: 'sim', input: 'hello', stream: true }`; an object's members replace these. */
export function openStream(target: Target, asked: Asked = {}): OpenStream {
  const { body = {} } = asked
  const isObject = !Buffer.isBuffer(body) && typeof body === 'object'
  const outgoing = open(target, asked, isObject ? { model: 'sim', input: 'hello', stream: true, ...body } : body)
  const begun = Promise.withResolvers<Beginning>()
  begun.promise.catch(() => {}) // Whoever awaits it hears of it.
  const coming = newEventQueue()
  const { next } = coming
  let incoming: IncomingMessage | undefined
  let text = ''
  const broken = (error: Error) => {
    begun.reject(error)
    coming.end(error)
  }
  outgoing.on('error', broken)
  outgoing.on('response', answer => {
    incoming = answer
    begun.resolve({ status: answer.statusCode!, headers: answer.headers })
    answer.setEncoding('utf8').on('error', broken)
    answer.on('end', () => coming.end())
    answer.on('data', (chunk: string) => {
      text += chunk
      coming.add(chunk)
    })
  })
  return {
    begun: begun.promise,
    next,
    async until(type) {
      for (let event = await next(); event !== undefined; event = await next()) if (event.type === type) return event
      throw new Error(`the answer ended without ${type}: ${text.slice(0, 1000)}`)
    },
    async rest() {
      const all: StreamEvent[] = []
      for (let event = await next(); event !== undefined; event = await next()) all.push(event)
      return all
    },
    get text() {
      return text
    },
    pause: () => void incoming?.pause(),
    resume: () => void incoming?.resume(),
    leave: () => void outgoing.destroy(),
    [Symbol.asyncDispose]: async () => void outgoing.destroy(),
  }
}

/** Text in, events out, each once. */
function newEventQueue() {
  const events: StreamEvent[] = []
  let waiting = Promise.withResolvers<void>()
  let ended: { readonly error: Error | undefined } | undefined
  let unread = ''
  const wake = () => {
    waiting.resolve()
    waiting = Promise.withResolvers()
  }
  return {
    add(text: string) {
      const blocks = (unread + text).split(/\r?\n\r?\n/)
      unread = blocks.pop()!
      events.push(...blocks.map(eventOf))
      wake()
    },
    end(error?: Error) {
      ended ??= { error }
      wake()
    },
    async next(): Promise<StreamEvent | undefined> {
      for (;;) {
        const event = events.shift()
        if (event !== undefined) return event
        if (ended?.error !== undefined) throw ended.error
        if (ended !== undefined) return undefined
        await waiting.promise
      }
    },
  }
}

function open(
  { url, key: ownKey }: Target,
  { method = 'POST', path = '/v1/responses', key, headers, pieceBytes, signal }: Asked,
  content: object | string | Buffer,
) {
  const bearer = key === undefined ? ownKey : key
  const authorization: Record<string, string> = bearer === null ? {} : { authorization: `Bearer ${bearer}` }
  const { hostname, port } = new URL(url)
  const all = { 'content-type': 'application/json', ...authorization, ...headers } as Record<string, string | string[]>
  const outgoing = request({ hostname, port, path, method, headers: all, agent: false, ...(signal && { signal }) })
  const body =
    typeof content === 'string' ? Buffer.from(content) : Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content))
  if (method === 'GET' || method === 'HEAD') outgoing.end()
  else if (pieceBytes === undefined) outgoing.end(body)
  else {
    for (let at = 0; at < body.length; at += pieceBytes) outgoing.write(body.subarray(at, at + pieceBytes))
    outgoing.end()
  }
  return outgoing
}

function eventOf(raw: string): StreamEvent {
  const line = (start: string) =>
    raw
      .split(/\r?\n/)
      .find(one => one.startsWith(start))
      ?.slice(start.length)
      .trim()
  const written = line('data:')
  const data = parsed(written ?? '')
  const said = typeof data.type === 'string' ? data.type : 'unreadable'
  const type = written === undefined ? 'comment' : written === '[DONE]' ? 'done' : said
  return { type, name: line('event:'), data, response: asObject(data.response), raw }
}

function parsed(text: string): Json {
  try {
    return asObject(JSON.parse(text))
  } catch {
    return {} // Not every answer is JSON; the test looks at the text then.
  }
}

function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {}
}
