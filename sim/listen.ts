import { type IncomingMessage, request } from 'node:http'
import type { Sim } from './sim.ts'

/** What a plain client of `node:http` saw of one call, down to the chunks in which the body came. */
export interface Heard {
  /** 0 when the headers never came. */
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly chunks: readonly Buffer[]
  readonly text: string
  /** `whole`: as HTTP says it should end. `broken`: the connection ended first; `code` says how Node calls it. */
  readonly ending: 'whole' | 'broken'
  readonly code: string | undefined
}

/** One call under way. */
export interface Listening {
  readonly heard: Promise<Heard>
  /** Resolves once the body holds this text. */
  until(text: string): Promise<void>
  pauseReading(): void
  leave(): void
}

export interface Question {
  readonly key?: string
  readonly path?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: object | string
}

/** Calls the scripted upstream on a connection of its own. */
export function ask(sim: Sim, question: Question = {}): Listening {
  const { key = 'sk-1', path = '/v1/responses', method = 'POST', body = { model: 'gpt-5.4', input: 'hello' } } = question
  const chunks: Buffer[] = []
  const waiting: (() => void)[] = []
  let answer: IncomingMessage | undefined
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...question.headers }
  const req = request({ host: '127.0.0.1', port: sim.port, path, method, headers, agent: false })
  const text = () => Buffer.concat(chunks).toString('utf8')
  const heard = new Promise<Heard>(resolve => {
    const end = (ending: Heard['ending'], code?: string) =>
      resolve({ status: answer?.statusCode ?? 0, headers: answer?.headers ?? {}, chunks, text: text(), ending, code })
    req.on('error', (error: NodeJS.ErrnoException) => end('broken', error.code))
    req.on('response', res => {
      answer = res
      res.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        for (const look of waiting) look()
      })
      res.on('end', () => end('whole'))
      res.on('error', (error: NodeJS.ErrnoException) => end('broken', error.code))
    })
  })
  req.end(method === 'GET' || method === 'DELETE' ? undefined : typeof body === 'string' ? body : JSON.stringify(body))
  return {
    heard,
    until: wanted =>
      new Promise(resolve => {
        const look = () => {
          if (text().includes(wanted)) resolve()
        }
        waiting.push(look)
        look()
      }),
    pauseReading: () => void answer?.pause(),
    leave: () => void req.destroy(),
  }
}

/** Asks for a stream. */
export function askStream(sim: Sim, question: Question & { readonly ask?: object } = {}): Listening {
  return ask(sim, { body: { model: 'gpt-5.4', input: 'hello', stream: true, ...question.ask }, ...question })
}

export interface HeardEvent {
  /** The `event:` line; undefined when there was none. */
  readonly name: string | undefined
  readonly type: string
  readonly sequence: number
  readonly fields: Record<string, unknown>
}

/** The events of a stream, without comments and `[DONE]`. */
export function eventsIn(text: string): HeardEvent[] {
  return text
    .split(/\r?\n\r?\n/)
    .slice(0, -1)
    .flatMap(block => {
      const lines = block.split(/\r?\n/)
      const written = lines.find(line => line.startsWith('data: '))?.slice(6)
      if (written === undefined || written === '[DONE]') return []
      const { type, sequence_number: sequence, ...fields } = JSON.parse(written)
      return [{ name: lines.find(line => line.startsWith('event: '))?.slice(7), type, sequence, fields }]
    })
}

/** The response object of the last event of a stream. */
export function lastResponse(text: string): Record<string, unknown> {
  const response = eventsIn(text).at(-1)?.fields.response
  if (typeof response !== 'object' || response === null) throw new Error('the stream does not end with a response')
  return response as Record<string, unknown>
}
