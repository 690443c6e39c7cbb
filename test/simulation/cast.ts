import { type Account, defaultCapabilities, type Group, type Key, type User } from '../../src/directory/entities.ts'
import { between, oneOf, randomFrom } from '../chance.ts'

/** Who plays in one run, drawn from its seed before anything happens. Times are milliseconds from the beginning. */
export interface Cast {
  readonly users: readonly User[]
  /** Nano-dollars, by wallet. */
  readonly money: ReadonlyMap<string, bigint>
  readonly groups: readonly Group[]
  readonly keys: readonly Key[]
  readonly upstreams: readonly Upstream[]
  readonly clients: readonly Person[]
  readonly orders: readonly Order[]
  /** How long the lines may be. */
  readonly bounds: { readonly lineExtra: number; readonly poolWaitingMax: number; readonly stickyWaiting: number }
}

/** An account, and what its upstream goes through. */
export interface Upstream {
  readonly account: Account
  readonly phases: readonly Phase[]
}

export interface Phase {
  readonly fromMs: number
  readonly mood: Mood
  /** Until a call's first event. */
  readonly firstEventMs: number
  readonly retryAfterSeconds: number | undefined
}

/** What an upstream does to whoever calls it: answers, or one of these. */
export type Mood = (typeof moods)[number]

/** Someone who asks: one call after the other, or many at once. */
export interface Person {
  readonly seed: number
  readonly userId: string
  readonly keyId: string
  /** As they call it: other users call theirs the same. */
  readonly session: string | undefined
  readonly fromMs: number
  readonly calls: number
  /** All of them at once. */
  readonly isBurst: boolean
  readonly thinksMs: readonly [least: number, most: number]
  /** Of a hundred calls, how many are left before their end, refer to an earlier answer, or are nonsense. */
  readonly leaves: number
  readonly continues: number
  readonly errs: number
}

/** What the operator does meanwhile. */
export type Order = { readonly atMs: number } & (
  | { readonly kind: 'disable' | 'enable' | 'resume'; readonly accountId: string }
  | { readonly kind: 'limit user'; readonly userId: string; readonly concurrency: number }
  | { readonly kind: 'revoke key'; readonly keyId: string }
)

export const lengthMs = 5 * 60_000

const moods = ['well', 'slow', 'limited', 'overloaded', 'spent', 'dead', 'failing', 'cutting', 'hanging', 'locked', 'sorry'] as const

/** How often, of a hundred. */
const moodWeights: Readonly<Record<Mood, number>> = {
  well: 40,
  slow: 20,
  limited: 9,
  overloaded: 6,
  spent: 4,
  dead: 6,
  failing: 5,
  cutting: 4,
  hanging: 2,
  locked: 2,
  sorry: 2,
}

export function castFrom(seed: number): Cast {
  const chance = randomFrom(seed)
  const groups = Array.from({ length: between(chance, 1, 2) }, (_, n) => groupNumber(n))
  const users = Array.from({ length: between(chance, 2, 4) }, (_, n) => userNumber(n, chance))
  const keys = users.flatMap(user => Array.from({ length: between(chance, 1, 2) }, (_, n) => keyNumber(n, user, { groups, chance })))
  // All of a pool serve the same models: what is usual for one is about as usual for the others, and a model that thinks takes seconds.
  const usualMs = chance() < 0.6 ? between(chance, 300, 700) : between(chance, 1_000, 4_000)
  const upstreams = Array.from({ length: between(chance, 2, 5) }, (_, n) => upstreamNumber(n, usualMs, { groups, chance }))
  const money = new Map(users.map(user => [user.walletId, chance() < 0.8 ? 50_000_000_000n : BigInt(between(chance, 1, 400)) * 1_000_000n]))
  const clients = users.flatMap(user => clientsOf(user, keys, chance))
  const orders = ordersFor({ users, keys, upstreams }, chance)
  const usual = { lineExtra: 20, poolWaitingMax: 100, stickyWaiting: 3 }
  const short = { lineExtra: between(chance, 0, 8), poolWaitingMax: between(chance, 2, 20), stickyWaiting: between(chance, 1, 3) }
  return { users, money, groups, keys, upstreams, clients, orders, bounds: chance() < 0.7 ? usual : short }
}

function groupNumber(n: number): Group {
  const multiplier = { units: 1n, scale: 0 }
  return {
    id: `g${n}`,
    name: `g${n}`,
    multiplier,
    pays: 'balance',
    unpriced: 'refuse',
    firstEventLimitMs: null,
    onClientLeft: n === 0 ? 'drain' : 'abort',
    createdAtMs: 0,
  }
}

function userNumber(n: number, chance: () => number): User {
  const concurrency = chance() < 0.15 ? 0 : between(chance, 1, 6)
  const rates = { requestsPerMinute: chance() < 0.1 ? between(chance, 5, 40) : null, tokensPerMinute: null }
  return { id: `u${n}`, email: `u${n}`, concurrency, disabled: false, walletId: `w${n}`, createdAtMs: 0, ...rates }
}

function keyNumber(n: number, { id }: User, { groups, chance }: { groups: readonly Group[]; chance: () => number }): Key {
  const order = chance() < 0.5 ? groups : groups.toReversed()
  return {
    id: `${id}k${n}`,
    userId: id,
    name: `k${n}`,
    hint: '',
    groupIds: order.map(group => group.id),
    concurrency: chance() < 0.3 ? between(chance, 1, 3) : null,
    allowAddresses: [],
    denyAddresses: [],
    expiresAtMs: null,
    disabled: false,
    createdAtMs: 0,
    requestsPerMinute: null,
    tokensPerMinute: null,
  }
}

function upstreamNumber(n: number, usualMs: number, { groups, chance }: { groups: readonly Group[]; chance: () => number }): Upstream {
  const account: Account = {
    id: `a${n}`,
    name: `a${n}`,
    provider: 'openai',
    baseUrl: `https://a${n}.example`,
    apiKey: `up-a${n}`,
    concurrency: chance() < 0.15 ? 0 : between(chance, 1, 6),
    priority: chance() < 0.8 ? 50 : 60,
    weight: between(chance, 1, 2),
    groupIds: groups.filter((_, index) => index === n % groups.length || chance() < 0.5).map(group => group.id),
    organization: null,
    models: chance() < 0.3 ? { sim: 'sim-renamed' } : {},
    capabilities: defaultCapabilities,
    proxy: null,
    allowPrivateAddress: false,
    defaultTier: 'default',
    requestsPerMinute: chance() < 0.1 ? between(chance, 6, 60) : null,
    tokensPerMinute: null,
    disabled: false,
    createdAtMs: 0,
  }
  return { account, phases: phasesFrom(usualMs * (0.8 + 0.4 * chance()), chance) }
}

/** Some go through all of it, and some are well all the time. */
function phasesFrom(usualMs: number, chance: () => number): Phase[] {
  const usual: Phase = { fromMs: 0, mood: 'well', firstEventMs: usualMs, retryAfterSeconds: undefined }
  if (chance() < 0.35) return [usual]
  const phases = [usual]
  for (let fromMs = between(chance, 20_000, 90_000); fromMs < lengthMs; fromMs += between(chance, 10_000, 90_000)) {
    const mood = phases.at(-1)!.mood === 'well' ? drawMood(chance) : 'well'
    const firstEventMs = mood === 'slow' ? usualMs * between(chance, 8, 30) : usualMs
    phases.push({ fromMs, mood, firstEventMs, retryAfterSeconds: chance() < 0.5 ? between(chance, 1, 40) : undefined })
  }
  return phases
}

function drawMood(chance: () => number): Mood {
  let left = chance() * Object.values(moodWeights).reduce((sum, weight) => sum + weight, 0)
  return moods.find(mood => (left -= moodWeights[mood]) < 0) ?? 'well'
}

function clientsOf(user: User, keys: readonly Key[], chance: () => number): Person[] {
  const mine = keys.filter(key => key.userId === user.id)
  const person = (said: Partial<Person>): Person => ({
    seed: Math.floor(chance() * 1e9),
    userId: user.id,
    keyId: oneOf(chance, mine).id,
    session: undefined,
    fromMs: between(chance, 0, lengthMs / 2),
    calls: 1,
    isBurst: false,
    thinksMs: [0, 0],
    leaves: 0,
    continues: 0,
    errs: 3,
    ...said,
  })
  const agents = Array.from({ length: between(chance, 1, 3) }, (_, n) => {
    const isPatient = chance() < 0.7
    return person({
      session: `session-${n}`,
      calls: between(chance, 5, 20),
      thinksMs: chance() < 0.8 ? [100, 8_000] : [10_000, 150_000],
      leaves: isPatient ? 0 : 15,
      continues: chance() < 0.3 ? 30 : 0,
    })
  })
  const bursts = Array.from({ length: between(chance, 0, 2) }, () =>
    person({ isBurst: true, calls: between(chance, 3, 40), leaves: oneOf(chance, [0, 20, 60]), continues: chance() < 0.3 ? 20 : 0 }),
  )
  return [...agents, ...bursts]
}

type Playing = Pick<Cast, 'users' | 'keys' | 'upstreams'>

function ordersFor({ users, keys, upstreams }: Playing, chance: () => number): Order[] {
  return Array.from({ length: between(chance, 0, 5) }, (): Order[] => {
    const atMs = between(chance, 0, lengthMs)
    const { id: accountId } = oneOf(chance, upstreams).account
    const drawn = chance()
    if (drawn < 0.35) return [{ atMs, kind: 'limit user', userId: oneOf(chance, users).id, concurrency: between(chance, 0, 8) }]
    if (drawn < 0.6) return [{ atMs, kind: 'resume', accountId }]
    if (drawn < 0.7) return [{ atMs, kind: 'revoke key', keyId: oneOf(chance, keys).id }]
    const pair: Order[] = [
      { atMs, kind: 'disable', accountId },
      { atMs: atMs + between(chance, 5_000, 60_000), kind: 'enable', accountId },
    ]
    return pair
  }).flat()
}
