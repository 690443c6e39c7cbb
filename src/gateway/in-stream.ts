import type { Fault } from '../lib/fault.ts'
import { errorEvent, failedEvent, wholeEvents } from '../protocols/openai-events.ts'

/** How a stream that has only had comments so far tells what would have been an HTTP answer of its own. */
export interface Telling {
  /** Of the response that failed. */
  readonly id: string
  /** As the client named it. */
  readonly model: string
  readonly createdAtMs: number
}

/** A refusal of ours: an `error` event, and the `response.failed` that every client understands. */
export function refusalEvents(fault: Fault, telling: Telling): Buffer[] {
  const { code, param, type, status } = fault.entry
  const seconds = fault.retryAfterSeconds
  const message = seconds === undefined ? fault.message : `${fault.message.replace(/\.$/, '')}. Please try again in ${seconds} s.`
  // A failed response must have a code, and clients act on it: these two are what OpenAI itself would say.
  const failedCode = code ?? (status === 429 ? 'rate_limit_exceeded' : 'server_error')
  return failure({ code, failedCode, message, param, type }, telling)
}

/** What the upstream answered whole: a refusal in its own words, or a response, as the events that begin and end it. */
export function answerEvents(status: number, body: Buffer, telling: Telling): Buffer[] {
  if (status < 300) return wholeEvents(body)
  const { code, message, param, type } = errorIn(body)
  // Without a code clients would try again what can only be refused again.
  return failure({ code, failedCode: code ?? 'invalid_prompt', message, param, type }, telling)
}

interface Failure {
  readonly code: string | null
  readonly failedCode: string
  readonly message: string
  readonly param: string | null
  readonly type: string
}

function failure({ code, failedCode, message, param, type }: Failure, telling: Telling): Buffer[] {
  const failed = failedEvent({ sequence: 1, base: undefined, code: failedCode, message, ...telling })
  return [errorEvent({ sequence: 0, code, message, param, type }), failed]
}

const shownChars = 500

/** OpenAI's error body; of what is none, the beginning is the message. */
function errorIn(body: Buffer): Omit<Failure, 'failedCode'> {
  const text = body.toString()
  const plain = { code: null, message: text.slice(0, shownChars), param: null, type: 'invalid_request_error' }
  try {
    const { code, message, param, type } = JSON.parse(text).error
    return { code: textOr(code, null), message: textOr(message, plain.message), param: textOr(param, null), type: textOr(type, plain.type) }
  } catch {
    return plain // A page of a proxy, perhaps: it is shown as it came.
  }
}

function textOr<Else>(value: unknown, otherwise: Else): string | Else {
  return typeof value === 'string' ? value : otherwise
}
