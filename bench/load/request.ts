import { model } from './answers.ts'

/** What a call asks for. */
export interface Ask {
  readonly stream: boolean
  /** Of a stream: milliseconds between its events. */
  readonly gapMs?: number
  /** Of a whole answer: how many milliseconds the upstream takes for it in the mean. */
  readonly afterMs?: number
  /** Whether the upstream is to keep the response, which a gateway then has to know the owner of. Coding agents say false. */
  readonly store?: boolean
}

/** Whom a call comes from, and what the gateway in front wants to be told besides. */
export interface Caller {
  readonly key: string
  readonly headers?: Readonly<Record<string, string>>
}

const instructions =
  'You are a water master. Answer from the register of rights alone, name the farm, the share and the hour, and say so when the ' +
  'register is silent. Do not promise what the stream does not carry. '
const question = 'Which of the farms below the second weir are owed water tonight, in which order, and for how long each? '

/** A whole request on the wire, made once and sent many times. */
export function requestOf({ stream, gapMs = 0, afterMs = 0, store = false }: Ask, { key, headers = {} }: Caller): Buffer {
  const input = [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: question.repeat(4) }] }]
  const whole = afterMs === 0 ? 'whole' : `after ${afterMs} ms`
  const metadata = { bench: stream ? `every ${gapMs} ms` : whole }
  const body = JSON.stringify({ model, instructions, input, max_output_tokens: 256, stream, store, metadata })
  const lines = [
    ...['POST /v1/responses HTTP/1.1', 'host: 127.0.0.1', 'user-agent: OpenAI/JS 6.49.0', 'accept: application/json'],
    ...['content-type: application/json', `authorization: Bearer ${key}`, `content-length: ${Buffer.byteLength(body)}`],
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`)
}

const marks = { gap: Buffer.from('"bench":"every '), after: Buffer.from('"bench":"after ') }

/** What the upstream is to do with such a body: milliseconds between the events of a stream; undefined for JSON. */
export function gapOf(body: Buffer): number | undefined {
  return numberAfter(marks.gap, body)
}

/** How many milliseconds it is to take for a whole answer, in the mean. */
export function afterOf(body: Buffer): number {
  return numberAfter(marks.after, body) ?? 0
}

function numberAfter(mark: Buffer, body: Buffer): number | undefined {
  const at = body.indexOf(mark)
  return at === -1 ? undefined : Number.parseInt(body.toString('latin1', at + mark.length, at + mark.length + 6), 10)
}
