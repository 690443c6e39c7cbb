import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type Row, statement } from '../../src/storage/database.ts'
import { resumed } from '../../src/upstreams/rest.ts'
import { oneOf, randomFrom, seedsFrom } from '../chance.ts'
import { type OpenStream, openStream } from '../client.ts'
import { inParallel, openWorld, type World } from '../world.ts'
import { randomAnswer } from './faults.ts'

/**
 * T5: every attempt is recorded.
 *
 * Calls of every kind, to accounts that do everything an upstream can do, from clients that may leave at any moment. Each
 * call is named by its user-agent, which the upstream hears too. What the upstream read of a call is, attempt for attempt,
 * what stands in the books: the same accounts, under the same models and ids. The upstream knows nothing of two kinds of
 * attempts, and of no others: the connection was refused, or the client left before there was one.
 */
const calls = 2_000
const atOnce = 100
/** Most of it is waiting for what hangs. */
const timeoutMs = 180_000
const seeds = seedsFrom(1, process.env.HEADGATE_TEST_FULL === undefined ? 1 : 10)

test.for(seeds)(
  `T5: of ${calls} calls under all faults every attempt is recorded, and no other (HEADGATE_TEST_SEED=%i)`,
  { timeout: timeoutMs },
  async seed => {
    const chance = randomFrom(seed)
    await using world = await opened()
    world.sim.script(
      {},
      Array.from({ length: 4 * calls }, () => randomAnswer(chance)),
    )
    const plans = Array.from({ length: calls }, (_, number) => ({
      name: `call-${number}`,
      streams: chance() < 0.5,
      leaves: oneOf(chance, leavings),
    }))
    await inParallel(calls, atOnce, async number => {
      const { coordinator } = world.headgate.gateway
      // An operator puts every account back, again and again: otherwise all of them would rest soon.
      for (const { id } of world.accounts) await coordinator.change(id, resumed)
      await call(world, plans[number]!)
    })
    await world.quiet()
    await world.sim.idle()

    const books = await readBooks(world)
    const upstream = readUpstream(world)
    const counts = { refused: books.attempts.filter(isRefused).length, unsent: 0 }
    const differences = plans.flatMap(({ name, leaves }) => {
      const recorded = books.ofCall(name)
      const seen = upstream.ofCall(name)
      const last = recorded.at(-1)
      const mayBeUnsent = leaves !== undefined && last?.fault === 'aborted' && last.status === null && recorded.length === seen.length + 1
      if (mayBeUnsent) counts.unsent += 1
      const [expected, found] = [sentTo(mayBeUnsent ? recorded.slice(0, -1) : recorded), sentTo(seen)]
      return expected === found ? [] : [`${name}: recorded ${expected}; seen ${found}`]
    })
    const kinds = Object.entries(Object.groupBy(books.attempts, ({ fault }) => fault ?? 'none')).map(
      ([fault, all]) => `${fault} ${all!.length}`,
    )
    console.log(
      `seed ${seed}: ${books.attempts.length} attempts recorded, ${upstream.attempts.length} seen, ${counts.refused} refused, ${counts.unsent} never sent; by fault: ${kinds.sort().join(', ')}`,
    )
    expect(differences).toEqual([])
    expect(books.attempts.length).toBe(upstream.attempts.length + counts.refused + counts.unsent)
    expect(idMistakes(books.attempts, upstream.attempts)).toEqual([])
    expect(books.miscounted).toEqual([])
    expect(upstream.attempts.length).toBeGreaterThan(calls)
    expect(counts.refused).toBeGreaterThan(0)
  },
)

/** When a client leaves. Undefined: it stays to the end. */
const leavings = [undefined, undefined, undefined, undefined, 'at once', 'soon', 'when seen', 'at the headers', 'at an event'] as const

interface Plan {
  readonly name: string
  readonly streams: boolean
  readonly leaves: (typeof leavings)[number]
}

/** Short waits, and lines in which nobody is refused. */
const settings = {
  firstEventTimeoutMs: 1_000,
  jsonHeadersTimeoutMs: 1_000,
  betweenBytesTimeoutMs: 1_000,
  drainMs: 1_500,
  sameAccountWaitMaxMs: 50,
  lineExtra: 2 * atOnce,
}

/** Three accounts, one of which knows the model by another name and one of which is narrow, and one at which nobody listens. */
function opened(): Promise<World> {
  return openWorld({
    accounts: [
      { concurrency: 0 },
      { concurrency: 0, models: { sim: 'sim-two' } },
      { concurrency: 30 },
      { concurrency: 0, baseUrl: 'http://127.0.0.1:1/v1' },
    ],
    prices: [{}, { model: 'sim-two' }],
    user: { concurrency: atOnce - 20 },
    balance: '10000',
    settings,
  })
}

async function call(world: World, { name, streams, leaves }: Plan): Promise<void> {
  await using open = openStream(world, { headers: { 'user-agent': name }, body: { stream: streams, max_output_tokens: 200 } })
  try {
    await moment(world, open, { name, leaves })
  } catch {
    // The connection broke before that moment, and there is nobody left to leave.
  }
}

/** Resolves when the client leaves, or has heard all. */
async function moment({ sim }: World, open: OpenStream, { name, leaves }: Pick<Plan, 'name' | 'leaves'>): Promise<unknown> {
  open.begun.catch(() => {}) // A client that has left does not ask how it went.
  switch (leaves) {
    case 'at once':
      return setImmediate()
    case 'soon':
      for (let turn = 0; turn < 10; turn += 1) await setImmediate()
      return
    case 'when seen':
      return Promise.race([sim.seen(({ headers }) => headers['user-agent'] === name), open.begun])
    case 'at the headers':
      return open.begun
    case 'at an event':
      return open.next()
    default:
      return open.rest()
  }
}

/** One attempt, as the books or the upstream tell it. */
interface Told {
  readonly call: string
  readonly account: string
  readonly model: string
  readonly requestId: string | null
}

interface Recorded extends Told {
  readonly fault: string | null
  readonly status: bigint | null
}

/** Not in their order: what was given up at once may be read only after the next one. */
function sentTo(attempts: readonly Told[]): string {
  return attempts
    .map(({ account, model }) => `${account} ${model}`)
    .sort()
    .join(', ')
}

function isRefused({ account, fault, status, requestId }: Recorded): boolean {
  return account === 'a4' && fault === 'unreachable' && status === null && requestId === null
}

/** All but the refused ones are found by their call. */
async function readBooks(world: World) {
  const rows = await world.rows()
  const callOf = new Map(rows.map(row => [row.id, row]))
  const accountOf = new Map(world.accounts.map(({ id, name }) => [id, name]))
  const attempts = (await world.attempts()).map(
    (row): Recorded => ({
      call: String(callOf.get(row.call_id!)?.user_agent),
      account: accountOf.get(String(row.account_id))!,
      model: String(row.model),
      requestId: row.upstream_request_id as string | null,
      fault: row.fault as string | null,
      status: row.status as bigint | null,
    }),
  )
  const byCall = Object.groupBy(attempts, attempt => attempt.call)
  const counted = await world.database.report(countAttempts)
  return {
    attempts,
    ofCall: (name: string) => (byCall[name] ?? []).filter(attempt => !isRefused(attempt)),
    /** Calls whose row does not say how many attempts it had. */
    miscounted: counted.filter(({ said, are }) => said !== are) as readonly Row[],
  }
}

const countAttempts = statement(`select calls.id, calls.attempts as said, count(attempts.call_id) as are
  from calls left join attempts on attempts.call_id = calls.id group by calls.id, calls.attempts`)

function readUpstream({ sim }: World) {
  const whole = sim.attempts.filter(({ isWhole }) => isWhole)
  let lines = 0
  const attempts = sim.attempts.map((attempt): Told => {
    const line = attempt.isWhole ? sim.invoice[lines++]! : undefined
    return {
      call: String(attempt.headers['user-agent']),
      account: attempt.key.replace('up-', ''),
      model: line?.modelAsked ?? 'never read',
      requestId: line?.requestId ?? null,
    }
  })
  expect(sim.invoice.length).toBe(whole.length)
  const byCall = Object.groupBy(attempts, attempt => attempt.call)
  return { attempts, ofCall: (name: string) => byCall[name] ?? [] }
}

/** Each id that was recorded is one of the upstream's own, once, for that attempt; and where a status was heard there is one. */
function idMistakes(recorded: readonly Recorded[], seen: readonly Told[]): readonly string[] {
  const unheard = new Map(seen.map(attempt => [attempt.requestId, attempt]))
  const mistakes: string[] = []
  for (const { call, account, model, requestId, status, fault } of recorded) {
    if (requestId === null && status !== null) mistakes.push(`${call}: ${account} answered ${status} ${fault}, but its id is not recorded`)
    if (requestId === null) continue
    const found = unheard.get(requestId)
    unheard.delete(requestId)
    const isThat = found?.call === call && found.account === account && found.model === model
    if (!isThat) mistakes.push(`${call}: ${requestId} is not the id of this attempt at ${account}`)
  }
  return mistakes
}
