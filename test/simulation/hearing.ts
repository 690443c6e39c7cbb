import type { Played } from './played.ts'

/** What the client of a call that is over must have heard: all that its upstream said, or a refusal that is one. */
export function expectHeard(played: Played, broke: (law: string) => void): void {
  const { name, response, hasLeft, stream } = played
  if (hasLeft) return
  const { status, isWhole } = response
  const text = response.text.replaceAll(':\n\n', '')
  if (!isWhole) return broke(`${name} never heard the end`)
  if (!statuses.has(status)) broke(`${name} heard ${status}: ${text}`)
  if (played.isForeign && status !== 401 && !text.includes('previous_response_not_found'))
    broke(`${name} referred to another's response and heard ${text}`)
  if (status !== 200) return
  const answered = played.sent.findLast(({ begunMs }) => begunMs !== undefined)
  const said = Buffer.concat(answered?.said ?? [])
    .toString()
    .replaceAll('"model":"sim-renamed"', '"model":"sim"')
  if (!stream) {
    if (text !== said) broke(`${name} heard ${text} and its upstream said ${said}`)
    return
  }
  const end = text.trimEnd().split('\n\n').at(-1)!
  if (/"type":"response\.(completed|incomplete)"/.test(end)) {
    if (text !== said) broke(`${name} heard ${text} and its upstream said ${said}`)
  } else if (!end.includes('"type":"response.failed"')) {
    broke(`${name} heard a stream without an end: ${text}`)
  }
}

/** What the gateway or an upstream may say to calls as these; never that something unforeseen has happened. */
const statuses: ReadonlySet<number> = new Set([200, 400, 401, 429, 502, 503])
