import { createHash } from 'node:crypto'
import type { Settings } from '../../src/config/settings.ts'
import { readConfig } from '../../src/config.ts'
import { type Condition, type Coordinator, calm } from '../../src/coordination/coordinator.ts'
import { inMemory } from '../../src/coordination/memory.ts'
import { AtOnce } from '../../src/gateway/at-once.ts'
import { openBackground } from '../../src/gateway/background.ts'
import { BodyBudget } from '../../src/gateway/body.ts'
import { openBrake } from '../../src/gateway/brake.ts'
import { openDrain } from '../../src/gateway/drain.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { openPurses } from '../../src/ledger/purses.ts'
import type { Log } from '../../src/lib/log.ts'
import { silentLog } from '../../src/lib/log.ts'
import { openMetrics } from '../../src/lib/metrics.ts'
import { Roster } from '../../src/lib/roster.ts'
import { openCallReader } from '../../src/protocols/read-in-worker.ts'
import type { Egress } from '../../src/upstreams/egress.ts'
import { resumed } from '../../src/upstreams/rest.ts'
import { between, randomFrom } from '../chance.ts'
import { AttemptLaws } from './attempts.ts'
import { SimulatedBooks } from './books.ts'
import { type Cast, castFrom, type Order } from './cast.ts'
import { Clients } from './clients.ts'
import { VirtualClock } from './clock.ts'
import { SimulatedDirectory } from './directory.ts'
import { expectHeard } from './hearing.ts'
import { LineLaws } from './lines.ts'
import { noCounts } from './no-counts.ts'
import { playing } from './played.ts'
import { type SessionFigures, SessionLaws } from './sessions.ts'
import { simulatedEgress } from './upstreams.ts'

/** What became of one seed. */
export interface Run {
  readonly seed: number
  readonly trace: readonly string[]
  /** SHA-256 of the trace. */
  readonly hash: string
  /** What was broken, in words; empty when all went as promised. */
  readonly broken: readonly string[]
  readonly calls: number
  readonly attempts: number
  readonly events: number
  readonly virtualMs: number
  readonly sessions: SessionFigures
  /** How often calls ended how: "completed", "refused line_full". */
  readonly endings: Readonly<Record<string, number>>
}

const defaults = readConfig({ env: {}, flags: {}, cwd: '.' }).settings
const metrics = openMetrics()
/** A run of five minutes has some thousands; this many means that it would never end. */
const eventsMax = 500_000

class Stage {
  readonly clock = new VirtualClock()
  readonly cast: Cast
  readonly directory: SimulatedDirectory
  readonly books: SimulatedBooks
  readonly memory = inMemory(this.clock)
  readonly lines: LineLaws
  readonly attempts: AttemptLaws
  readonly sessions: SessionLaws
  readonly gateway: Gateway
  readonly clients: Clients
  readonly trace: string[] = []
  readonly broken: string[] = []
  sent = 0
  readonly #chance: () => number
  readonly #conditions = new Map<string, Condition>()

  constructor(seed: number) {
    this.#chance = randomFrom(seed + 1_000_003)
    const { clock, say, broke } = this
    this.cast = castFrom(seed)
    const { money, upstreams } = this.cast
    this.directory = new SimulatedDirectory(this.cast, clock)
    const settings = { ...defaults, ...this.cast.bounds }
    const laws = { clock, settings, broke, say, directory: this.directory, conditionOf: this.#conditionOf, takenOf: this.#takenOf }
    this.lines = new LineLaws(laws)
    this.attempts = new AttemptLaws(laws)
    this.sessions = new SessionLaws({ ...laws, upstreams })
    this.books = new SimulatedBooks(money, { clock, say, broke, latencyMs: () => latencyFrom(this.#chance) })
    this.gateway = this.#gatewayOf(settings)
    this.clients = new Clients({ cast: this.cast, gateway: this.gateway, say, onOver: played => expectHeard(played, broke) })
  }

  readonly say = (what: string): void => {
    this.trace.push(`${this.clock.elapsedMs()} ${what}`)
  }

  readonly broke = (law: string): void => {
    this.broken.push(law)
    this.say(`BROKEN: ${law}`)
  }

  /** What is always true between two events. */
  check(): void {
    this.lines.check()
    this.books.check()
  }

  obey(order: Order): void {
    const { directory, clock } = this
    clock.after(order.atMs, () => {
      this.say(`the operator: ${JSON.stringify(order)}`)
      if (order.kind === 'limit user') directory.limitUser(order.userId, order.concurrency)
      else if (order.kind === 'revoke key') directory.revokeKey(order.keyId)
      else if (order.kind === 'resume') void this.gateway.coordinator.change(order.accountId, resumed)
      else directory.disableAccount(order.accountId, order.kind === 'disable')
    })
  }

  /** When everybody has gone home: what was taken is back, and every call has its row. */
  expectNothingLeft(): void {
    const { broke, books, clients, gateway, clock, memory, attempts } = this
    const counts = {
      ...memory.linesNow(),
      'answers in the drain': gateway.drain.count,
      'attempts alive': gateway.live.size,
      'bytes of bodies': gateway.bodies.takenBytes,
      'requests at upstreams': attempts.running,
      'calls without a row': clients.count - books.rows.size,
      timers: clock.pending,
    }
    const left = [
      ...Object.entries(counts).flatMap(([what, count]) => (count === 0 ? [] : [`${count} ${what}`])),
      ...books.openHolds.map(callId => `the hold of ${callId}`),
      ...[...clients.running].map(({ name }) => `${name}, which never ended`),
      ...this.lines.leaks(),
    ]
    if (left.length > 0) broke(`left at the end: ${left.join('; ')}`)
  }

  #gatewayOf(settings: Settings): Gateway {
    const { clock, books, directory } = this
    const chance = this.#chance
    const gateway: Gateway = {
      ...books.ports,
      settings,
      clock,
      chance,
      directory,
      coordinator: this.#watched(this.memory),
      egress: this.#egress(),
      bodies: new BodyBudget(settings.bodiesBytesMax),
      atHand: undefined,
      purses: openPurses(clock, 1_000),
      brake: openBrake(0, clock), // Every call is to have a row.
      reader: openCallReader(),
      counter: noCounts,
      drain: openDrain(settings, clock, () => gateway),
      background: openBackground(settings, clock, () => gateway),
      keptAtOnce: new AtOnce(settings.keptAtOnceMax),
      live: new Roster(),
      metrics,
      log: this.#log(),
      trustedProxies: undefined,
      leaseId: 'lease',
      closing: new AbortController().signal,
    }
    return gateway
  }

  #egress(): Egress {
    const { clock, cast, say, attempts, sessions } = this
    return simulatedEgress(cast.upstreams, {
      clock,
      say,
      chance: this.#chance,
      onSent: sent => {
        this.sent += 1
        attempts.sent(sent)
        sessions.sent(sent)
      },
      onArrived: sent => attempts.arrived(sent),
      onBegun: sent => sessions.begun(sent),
    })
  }

  #watched(coordinator: Coordinator): Coordinator {
    return {
      ...coordinator,
      ...this.lines.over(coordinator),
      ...this.sessions.over(coordinator),
      change: (accountId, change) =>
        coordinator.change(accountId, was => {
          const is = change(was)
          this.#conditions.set(accountId, is)
          this.attempts.changed(accountId, playing.getStore(), { was, is })
          return is
        }),
    }
  }

  /** Nothing that happens here is a mistake of the gateway's own, and nothing is away: it has nothing to warn of. */
  #log(): Log {
    const complain = (what: object, text?: string) => {
      const { err } = what as { readonly err?: Error }
      this.broke(`the gateway logs: ${text} ${err?.stack ?? ''}`)
    }
    return { ...silentLog, warn: complain, error: complain, fatal: complain } as Log
  }

  readonly #conditionOf = (accountId: string): Condition => this.#conditions.get(accountId) ?? calm
  readonly #takenOf = (accountId: string): number => this.lines.taken(`account:${accountId}`)
}

/** Books are quick, but for now and then. */
function latencyFrom(chance: () => number): number {
  return chance() < 0.03 ? between(chance, 20, 200) : between(chance, 0, 3)
}

/**
 * Plays one seed: clients, upstreams, books and the time are made up, and everything between them is the gateway's own code, from
 * `handle` on. Ends at the first thing that is broken.
 */
export async function simulate(seed: number): Promise<Run> {
  const stage = new Stage(seed)
  for (const person of stage.cast.clients) stage.clients.begin(person)
  for (const order of stage.cast.orders) stage.obey(order)
  let events = 0
  while (stage.broken.length === 0 && (await stage.clock.step())) {
    stage.check()
    events += 1
    if (events > eventsMax) stage.broke(`${eventsMax} events, and no end`)
  }
  if (stage.broken.length === 0) stage.expectNothingLeft()
  const { trace, broken, clients, sent, clock, sessions } = stage
  return {
    seed,
    trace,
    hash: createHash('sha256').update(trace.join('\n')).digest('hex'),
    broken,
    calls: clients.count,
    attempts: sent,
    events,
    virtualMs: clock.elapsedMs(),
    sessions: sessions.figures,
    endings: countBy([...stage.books.rows.values()].map(({ ended, fault }) => `${ended} ${fault ?? ''}`.trimEnd())),
  }
}

function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return counts
}
