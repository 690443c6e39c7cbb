import { kindOf, readAnswer, renameModel } from '../protocols/openai-events.ts'
import type { AnswerFacts } from '../protocols/protocol.ts'
import { dataOf } from '../protocols/sse.ts'
import type { Attempt, EventSink } from '../upstreams/attempt.ts'
import type { KeptAnswer, KeptAsking } from './ask-kept.ts'
import type { Client } from './client.ts'
import { abandon } from './forward.ts'
import { unlessLeft } from './leaving.ts'
import { answerHeaders } from './request-headers.ts'
import { rowOf, tell } from './row.ts'

/**
 * Passes on the events of a response that is being made in the background, from wherever the client wants to take them up. When they
 * break off the client's connection is cut and no end is made up: the response goes on, and the client may ask for the rest.
 */
export async function relayKeptEvents({ attempt, beginning }: KeptAnswer, model: string | null, asking: KeptAsking): Promise<void> {
  const { client, receipt, gateway } = asking
  const relay = new EventsRelay(client, attempt, model)
  client.beginStream(answerHeaders(beginning.headers))
  const end = await unlessLeft(attempt.pipe(relay), client.leaving)
  abandon(attempt, gateway)
  if (end === undefined) throw client.left.reason
  const { last } = relay
  if (last !== undefined) await gateway.background.heard(last.facts)
  const cut = end === 'ended' ? 'stream_unended' : end
  const row = rowOf(
    receipt,
    { status: 200, ended: last === undefined ? 'cut' : 'completed', fault: last === undefined ? cut : null },
    gateway,
  )
  tell(row, receipt.principal?.user.email, gateway)
  gateway.recorder.refused(row, receipt.attempts)
  if (last === undefined) client.cut()
  else client.finishStream([last.bytes])
}

/** Holds the terminal event back: it is the end. */
class EventsRelay implements EventSink {
  last: { readonly bytes: Buffer; readonly facts: AnswerFacts } | undefined
  readonly #client: Client
  readonly #attempt: Attempt
  readonly #model: string | null

  constructor(client: Client, attempt: Attempt, model: string | null) {
    this.#client = client
    this.#attempt = attempt
    this.#model = model
  }

  event(raw: Buffer, type: string): boolean {
    if (this.last !== undefined) return true
    const kind = kindOf(type)
    const isWhole = kind !== 'delta' && kind !== 'error'
    const bytes = isWhole && this.#model !== null ? renameModel(raw, this.#model) : raw
    if (!isWhole || kind === 'lifecycle') return this.#write(bytes)
    this.last = { bytes, facts: readAnswer(dataOf(raw)) }
    return true
  }

  comment(raw: Buffer): boolean {
    return this.last !== undefined || this.#write(raw)
  }

  #write(raw: Buffer): boolean {
    if (this.#client.hasLeft || this.#client.write(raw)) return true
    this.#client.onDrain(() => this.#attempt.resume())
    return false
  }
}
