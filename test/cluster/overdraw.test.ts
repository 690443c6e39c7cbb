import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Script } from '../../sim/script.ts'
import { formatUsd } from '../../src/ledger/money.ts'
import { type EqualBodies, equalBodies, equalCall, floorTokens } from '../anomaly/equal-calls.ts'
import { between, oneOf, randomFrom, seedsFrom } from '../chance.ts'
import { until } from '../world.ts'
import { type Cluster, onCluster, openCluster } from './cluster.ts'

/**
 * T4 on three gateways: a thousand calls with the same ceiling of output come at once, to each gateway a third, half of them streams, on
 * a balance for exactly k of them. Each costs all that was held for it. So k are served whole, the others are refused, and the
 * balance is spent to what was too little for one more.
 */
const calls = 1_000
const seeds = seedsFrom(0, process.env['HEADGATE_TEST_FULL'] === undefined ? 3 : 100)

/** Only money refuses anybody, and a busy machine may take long. A gateway has no more calls at once than one of these lets in. */
const patient = {
  ...{ refusalsPerMinute: 0, lineExtra: calls, lineTimeoutMs: 120_000, poolWaitingMax: calls, booksTimeoutMs: 120_000 },
  ...{ databaseStatementTimeoutMs: 60_000, redisTimeoutMs: 60_000, waitingCommentMs: 0, attemptCommentMs: 0 },
}

onCluster('T4: three gateways and one balance', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await openCluster({ accounts: [0], settings: patient })
  })
  afterAll(() => cluster?.[Symbol.asyncDispose]())

  test.each(seeds)(
    `${calls} calls at once on money for k: k are served (HEADGATE_TEST_SEED=%i)`,
    async seed => {
      const { k, money, hold, bodies, scripts, concurrency } = planOf(seed)
      cluster.sim.reset()
      cluster.sim.script({}, scripts)
      const person = await cluster.addPerson({ concurrency, balance: formatUsd(money) })
      const readWallet = () => cluster.select(`select balance, held from wallets where user_id = '${person.id}'`)
      let looks = 0
      const heard = await Promise.all(
        Array.from({ length: calls }, async (_, number) => {
          const { url } = cluster.nodes[number % cluster.nodes.length]!
          const answer = await equalCall({ url, key: person.key }, bodies, number)
          if (answer !== 'served') return answer
          const [wallet] = await readWallet()
          expect(wallet!['held']).toBeLessThanOrEqual(wallet!['balance'] as bigint)
          looks += 1
          return answer
        }),
      )
      const refusals = heard.filter(answer => answer !== 'served')
      const readRows = () => cluster.select(`select * from calls where user_id = '${person.id}'`)
      await until(async () => (await readRows()).length === calls, 'not every call has a row', 30_000)
      const paid = (await readRows()).filter(({ fault }) => fault === null)
      const [wallet] = await readWallet()
      console.log(
        `seed ${seed}: k ${k}, user concurrency ${concurrency}: ${calls - refusals.length} served, $${formatUsd(BigInt(k) * hold)} of`,
        `$${formatUsd(money)} spent, $${formatUsd(wallet!['balance'] as bigint)} left; looked ${looks} times`,
      )
      expect(calls - refusals.length).toBe(k)
      for (const refusal of refusals) expect(refusal).toMatchObject({ status: 429, code: 'insufficient_quota', retry: 'never' })
      expect(paid.map(({ cost, held, uncollected }) => [cost, held, uncollected])).toEqual(Array(k).fill([hold, hold, 0n]))
      expect(wallet).toEqual({ balance: money - BigInt(k) * hold, held: 0n })
      expect(cluster.sim.invoice.map(({ costNanos }) => costNanos)).toEqual(Array(k).fill(hold))
      expect(await cluster.differences()).toEqual([])
    },
    180_000,
  )
})

interface Plan extends Pick<EqualBodies, 'bodies'> {
  readonly k: number
  /** Nano-dollars: enough for k holds, and not for the floor of one more. */
  readonly money: bigint
  /** Nano-dollars of one hold. */
  readonly hold: bigint
  /** 0: nobody waits, and the thousand look at the money at once. */
  readonly concurrency: number
  readonly scripts: readonly Script[]
}

function planOf(seed: number): Plan {
  const chance = randomFrom(seed)
  const k = between(chance, 2, 300)
  const ceiling = oneOf(chance, [between(chance, 1, floorTokens), between(chance, floorTokens, 2_500)])
  const { bodies, input, cost } = equalBodies(ceiling)
  const hold = cost(ceiling)
  const tooLittle = cost(Math.min(ceiling, floorTokens)) - 1n
  const money = BigInt(k) * hold + oneOf(chance, [0n, tooLittle, BigInt(between(chance, 0, Number(tooLittle)))])
  const scripts = Array.from({ length: k }, () => ({
    ...{ headersAfterMs: between(chance, 0, 30), firstEventAfterMs: between(chance, 0, 30), betweenEventsMs: between(chance, 0, 3) },
    ...{ outputTokens: ceiling, cacheWriteTokens: input, usage: { input_tokens: input } },
  }))
  return { k, money, hold, bodies, scripts, concurrency: seed % 3 === 0 ? 0 : between(chance, Math.ceil(k / 8), k + 20) }
}
