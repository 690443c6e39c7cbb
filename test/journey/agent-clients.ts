import { type Answer, type Asked, send, type Target } from '../client.ts'

/** What an agent does with an answer: nothing more, or the same again after so many seconds. */
export type Next = 'stops' | number

/** An agent as PROTOCOL.md 5 found it in the laboratory, as far as refusals go. `tries` counts the requests made so far. */
export type Agent = (answer: Answer, tries: number) => Next

/** Codex 0.169, before the stream (5.1). It ignores `x-should-retry`, and gives up on a 429 that does not say when to come back. */
export const codex: Agent = ({ status, headers, error }, tries) => {
  const after = Number(headers['retry-after'] ?? Number.NaN)
  const upTo = (requests: number, seconds: number) => (tries < requests ? seconds : 'stops')
  if (status === 200 || status === 400 || status === 404 || error['code'] === 'insufficient_quota') return 'stops'
  if (status === 429) return Number.isNaN(after) ? 'stops' : upTo(6, after)
  if (status === 503 && !Number.isNaN(after)) return upTo(6, after)
  return upTo(status === 500 || status === 502 ? 30 : 6, 1)
}

/** OpenCode 1.18 (5.2): a 429 of any kind is asked again for ever, whatever the headers say, ever more slowly. */
export const openCode: Agent = ({ status }, tries) =>
  status === 200 || status === 400 || status === 402 ? 'stops' : Math.min(16, 2 ** tries)

/** openai-node (3.3), which the Agents SDK uses too: `x-should-retry` wins, then the status, twice at most. */
export const sdk: Agent = ({ status, headers }, tries) => {
  const isRetried = headers['x-should-retry'] !== 'false' && (status === 408 || status === 409 || status === 429 || status >= 500)
  return isRetried && tries < 3 ? Number(headers['retry-after'] ?? 1) : 'stops'
}

/** Lets it ask until it stops, or has asked `requestsMax` times. Nobody waits: what counts is how often it comes back. */
export async function letAsk(agent: Agent, target: Target, asked: Asked, requestsMax: number): Promise<readonly Answer[]> {
  const answers: Answer[] = []
  let next: Next = 0
  while (next !== 'stops' && answers.length < requestsMax) {
    const answer = await send(target, asked)
    answers.push(answer)
    next = agent(answer, answers.length)
  }
  return answers
}
