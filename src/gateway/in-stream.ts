import type { Fault } from '../lib/fault.ts'
import type { Protocol, Refusal, Telling } from '../protocols/protocol.ts'

/** How a stream that has only had comments so far tells a refusal of ours that would have been an HTTP answer of its own. */
export function refusalEvents(fault: Fault, protocol: Protocol, telling: Telling): Buffer[] {
  const seconds = fault.retryAfterSeconds
  const message = seconds === undefined ? fault.message : `${fault.message.replace(/\.$/, '')}. Please try again in ${seconds} s.`
  return protocol.refusalEvents({ ...fault.entry, message }, telling)
}

/** What the upstream answered whole: a refusal in its own words, or a response, as the events that begin and end it. */
export function answerEvents(status: number, body: Buffer, protocol: Protocol, telling: Telling): Buffer[] {
  return status < 300 ? protocol.wholeEvents(body) : protocol.refusalEvents(errorIn(status, body), telling)
}

const shownChars = 500

/** OpenAI's error body; of what is none, the beginning is the message. */
function errorIn(status: number, body: Buffer): Refusal {
  const text = body.toString()
  const plain = { status, code: null, message: text.slice(0, shownChars), param: null, type: 'invalid_request_error' }
  try {
    const { code, message, param, type } = JSON.parse(text).error
    return {
      ...plain,
      code: textOr(code, null),
      message: textOr(message, plain.message),
      param: textOr(param, null),
      type: textOr(type, plain.type),
    }
  } catch {
    return plain // A page of a proxy, perhaps: it is shown as it came.
  }
}

function textOr<Else>(value: unknown, otherwise: Else): string | Else {
  return typeof value === 'string' ? value : otherwise
}
