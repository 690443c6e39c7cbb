import { readConfig } from '../../src/config.ts'
import { inMemory } from '../../src/coordination/memory.ts'
import { AtOnce } from '../../src/gateway/at-once.ts'
import { openBackground } from '../../src/gateway/background.ts'
import { BodyBudget } from '../../src/gateway/body.ts'
import { openBrake } from '../../src/gateway/brake.ts'
import { HttpClient } from '../../src/gateway/client.ts'
import { openDrain } from '../../src/gateway/drain.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { handle } from '../../src/gateway/handle.ts'
import { NodeWire } from '../../src/gateway/node-wire.ts'
import { openPurses } from '../../src/ledger/purses.ts'
import { silentLog } from '../../src/lib/log.ts'
import { openMetrics } from '../../src/lib/metrics.ts'
import { Roster } from '../../src/lib/roster.ts'
import { chat } from '../../src/protocols/openai-chat.ts'
import { responses } from '../../src/protocols/openai-responses.ts'
import { openCallReader } from '../../src/protocols/read-in-worker.ts'
import type { Egress } from '../../src/upstreams/egress.ts'
import type { ExchangeControl } from '../../src/upstreams/exchange-control.ts'
import { SimulatedBooks } from '../simulation/books.ts'
import { castFrom } from '../simulation/cast.ts'
import { VirtualClock } from '../simulation/clock.ts'
import { SimulatedDirectory } from '../simulation/directory.ts'
import { HeardResponse, requestWith } from '../simulation/heard.ts'
import { noCounts } from '../simulation/no-counts.ts'

export interface Relaying {
  readonly protocol: 'responses' | 'chat'
  /** The client names the model otherwise than the upstream. */
  readonly isAlias: boolean
  /** What a client of chat completions asked for itself. */
  readonly showsUsage: boolean
}

const settings = readConfig({ env: {}, flags: {}, cwd: '.' }).settings
const metrics = openMetrics()
/** Two accounts, of which one lists the model under the name that only the upstream has otherwise. */
const alias = 'fast'

/** What a client hears when its upstream sends a stream in these pieces: through all of the gateway, in virtual time and without sockets. */
export async function relayed(chunks: readonly Buffer[], { protocol, isAlias, showsUsage }: Relaying): Promise<string> {
  const clock = new VirtualClock()
  const { gateway, keyId } = gatewayBefore(upstreamOf(chunks, clock), clock, isAlias)
  const response = new HeardResponse()
  const body = {
    model: isAlias ? alias : 'sim',
    stream: true,
    ...(protocol === 'chat' ? { messages: [] } : { input: 'hello' }),
    ...(showsUsage && { stream_options: { include_usage: true } }),
  }
  const request = requestWith({ authorization: `Bearer ${keyId}` }, body)
  const spoken = protocol === 'chat' ? chat : responses
  const client = new HttpClient(new NodeWire(request, response.asServerResponse(), clock), {
    id: 'call',
    protocol: spoken,
    address: '192.0.2.1',
    clock,
    settings,
  })
  // Begun by the clock, as everything is: what follows from it at once has then followed before the next step.
  clock.after(0, () => void handle(client, '/', gateway))
  while (await clock.step());
  return response.text
}

function gatewayBefore(egress: Egress, clock: VirtualClock, isAlias: boolean): { readonly gateway: Gateway; readonly keyId: string } {
  const cast = castFrom(1)
  const [key] = cast.keys
  const [{ account }] = cast.upstreams as [(typeof cast.upstreams)[number]]
  const only = { ...account, groupIds: key!.groupIds, models: isAlias ? { [alias]: 'sim' } : {}, requestsPerMinute: null }
  const money = new Map(cast.users.map(({ walletId }) => [walletId, 1_000_000_000_000n]))
  const broke = (law: string) => {
    throw new Error(law)
  }
  const gateway: Gateway = {
    ...new SimulatedBooks(money, { clock, latencyMs: () => 0, say: () => {}, broke }).ports,
    settings,
    clock,
    chance: () => 0,
    directory: new SimulatedDirectory({ ...cast, upstreams: [{ account: only, phases: [] }] }, clock),
    coordinator: inMemory(clock),
    egress,
    atHand: undefined,
    purses: openPurses(clock, 1_000),
    brake: openBrake(0, clock),
    bodies: new BodyBudget(settings.bodiesBytesMax),
    reader: openCallReader(),
    counter: noCounts,
    drain: openDrain(settings, clock, () => gateway),
    background: openBackground(settings, clock, () => gateway),
    keptAtOnce: new AtOnce(settings.keptAtOnceMax),
    live: new Roster(),
    metrics,
    log: silentLog,
    trustedProxies: undefined,
    leaseId: 'lease',
    closing: new AbortController().signal,
  }
  return { gateway, keyId: key!.id }
}

/** Sends the pieces one after the other, each in an event of its own, and none while it is asked to be silent. */
function upstreamOf(chunks: readonly Buffer[], clock: VirtualClock): Egress {
  return {
    send(_, handler) {
      const left = [...chunks]
      let isAborted = false
      let isPaused = false
      const control: ExchangeControl = {
        get aborted() {
          return isAborted
        },
        abort(reason) {
          isAborted = true
          clock.after(0, () => handler.onResponseError(control, reason))
        },
        pause() {
          isPaused = true
        },
        resume() {
          if (isPaused) clock.after(0, next)
          isPaused = false
        },
      }
      const next = () => {
        if (isAborted || isPaused) return
        const chunk = left.shift()
        if (chunk === undefined) return handler.onResponseEnd(control)
        handler.onResponseData(control, chunk)
        clock.after(0, next)
      }
      handler.onRequestStart(control)
      handler.onResponseStart(control, 200, { 'content-type': 'text/event-stream' })
      clock.after(0, next)
    },
    openSocket() {
      throw new Error('streams are played over HTTP')
    },
    close: async () => {},
  }
}
