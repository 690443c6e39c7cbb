import { HttpClient } from '../../src/gateway/client.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { handle } from '../../src/gateway/handle.ts'
import { NodeWire } from '../../src/gateway/node-wire.ts'
import { responses } from '../../src/protocols/openai-responses.ts'
import { between, oneOf, randomFrom } from '../chance.ts'
import type { Cast, Person } from './cast.ts'
import { model } from './directory.ts'
import { HeardResponse, requestWith } from './heard.ts'
import { type Played, playing } from './played.ts'

export interface ClientParts {
  readonly cast: Cast
  readonly gateway: Gateway
  readonly say: (what: string) => void
  readonly onOver: (played: Played) => void
}

/** An answer that was stored, and the account that has it. */
interface Stored {
  readonly id: string
  readonly userId: string
  readonly accountId: string
}

/** Everybody who asks. */
export class Clients {
  readonly #parts: ClientParts
  readonly #stored: Stored[] = []
  #count = 0
  /** Calls that are not over. */
  readonly running = new Set<Played>()

  constructor(parts: ClientParts) {
    this.#parts = parts
  }

  get count(): number {
    return this.#count
  }

  begin(person: Person): void {
    const { clock } = this.#parts.gateway
    const chance = randomFrom(person.seed)
    clock.after(person.fromMs, () => {
      if (!person.isBurst) return void this.#askOn(person, chance, person.calls)
      for (let n = 0; n < person.calls; n++) void this.#ask(person, chance)
    })
  }

  async #askOn(person: Person, chance: () => number, calls: number): Promise<void> {
    await this.#ask(person, chance)
    const [least, most] = person.thinksMs
    if (calls > 1) this.#parts.gateway.clock.after(between(chance, least, most), () => void this.#askOn(person, chance, calls - 1))
  }

  async #ask(person: Person, chance: () => number): Promise<void> {
    const { gateway, cast, say, onOver } = this.#parts
    const name = `call-${++this.#count}`
    const earlier = chance() * 100 < person.continues && this.#stored.length > 0 ? oneOf(chance, this.#stored) : undefined
    const isMine = earlier?.userId === person.userId
    const played: Played = {
      name,
      user: cast.users.find(({ id }) => id === person.userId)!,
      key: cast.keys.find(({ id }) => id === person.keyId)!,
      session: person.session,
      stream: chance() < 0.6,
      boundTo: isMine ? earlier?.accountId : undefined,
      refersTo: earlier?.id,
      isForeign: earlier !== undefined && !isMine,
      beganMs: gateway.clock.elapsedMs(),
      response: new HeardResponse(),
      hasLeft: false,
      slotSinceMs: undefined,
      sent: [],
    }
    const leavesMs = chance() * 100 < person.leaves ? between(chance, 0, 15_000) : undefined
    const body = bodyOf(played, chance() * 100 < person.errs, chance)
    say(`${name} of ${person.userId} ${played.session ?? ''} begins ${played.stream ? 'stream' : 'json'} ${earlier?.id ?? ''}`)
    this.running.add(played)
    await this.#play(played, body, leavesMs)
    this.running.delete(played)
    this.#keep(played)
    onOver(played)
  }

  async #play(played: Played, body: object, leavesMs: number | undefined): Promise<void> {
    const { gateway, say } = this.#parts
    const { clock, settings } = gateway
    const headers: Record<string, string> = { authorization: `Bearer ${played.key.id}` }
    if (played.session !== undefined) headers['session-id'] = played.session
    const request = requestWith(headers, body)
    const parts = { id: played.name, protocol: responses, address: '192.0.2.1', clock, settings }
    const client = new HttpClient(new NodeWire(request, played.response.asServerResponse(), clock), parts)
    const leaving =
      leavesMs === undefined
        ? undefined
        : clock.after(leavesMs, () => {
            say(`${played.name} leaves`)
            played.hasLeft = true
            played.response.destroy()
          })
    await playing.run(played, () => handle(client, '/v1/responses', gateway))
    leaving?.[Symbol.dispose]()
  }

  #keep({ response, sent, user, hasLeft }: Played): void {
    const id = /"id":"(resp_\d+)"/.exec(response.text)?.[1]
    const accountId = sent.at(-1)?.accountId
    const isStored = /"status":"(completed|incomplete)"/.test(response.text)
    if (id !== undefined && accountId !== undefined && isStored && !hasLeft) this.#stored.push({ id, userId: user.id, accountId })
  }
}

function bodyOf({ name, stream, refersTo }: Played, isNonsense: boolean, chance: () => number): object {
  return {
    model,
    stream,
    input: `${isNonsense ? 'nonsense' : 'sense'} of ${name} ${'x'.repeat(between(chance, 0, 4_000))}`,
    ...(chance() < 0.4 && { max_output_tokens: between(chance, 16, 4_000) }),
    ...(refersTo !== undefined && { previous_response_id: refersTo }),
  }
}
