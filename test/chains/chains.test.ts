import { expect, test } from 'vitest'
import { between, oneOf, randomFrom, seedsFrom } from '../chance.ts'
import { send } from '../client.ts'
import { openWorld, type World } from '../world.ts'
import { type Chain, issuers, type Kind, leftBy, planStep, type Step, type Tenant, take, telling, tenantOf } from './chains.ts'

/**
 * Conversations of many tenants, interleaved, over accounts that all of them share. What lives on upstream is known to the
 * account alone, not to the tenant: the accounts would give anybody's to anybody. It is the gateway that must know whose it is.
 */
const chainCount = process.env.HEADGATE_TEST_FULL === undefined ? 400 : 10_000
const accountCount = 10
const tenantCount = 20
const atOnce = 24
const timeoutMs = 900_000

test.for(seedsFrom(11, 1))(
  `${chainCount} chains over ${accountCount} accounts and ${tenantCount} tenants: each call reaches the account that issued what it takes up, and nobody reaches another’s (HEADGATE_TEST_SEED=%i)`,
  { timeout: timeoutMs },
  async seed => {
    const chance = randomFrom(seed)
    await using world = await openWorld({
      accounts: Array.from({ length: accountCount }, () => ({ concurrency: 4 })),
      balance: '1000',
    })
    const tenants = await openTenants(world)
    const run = newRun(world)
    const alive = Array.from({ length: chainCount }, (_, number) => newChain(number, oneOf(chance, tenants), chance))
    while (alive.length > 0) {
      const chosen = new Set(Array.from({ length: atOnce }, () => oneOf(chance, alive)))
      const steps = [...chosen].map(chain => planStep(chain, tenants, chance))
      await Promise.all(steps.map(step => run.take(step)))
      for (const { chain } of steps) chain.stepsLeft -= 1
      for (const chain of chosen) if (chain.stepsLeft === 0) alive.splice(alive.indexOf(chain), 1)
    }
    console.log(`seed ${seed}: ${chainCount} chains: ${JSON.stringify(run.counts)}`)
    expect(run.mistakes.slice(0, 20)).toEqual([])
    expect(run.counts.followed).toBeGreaterThan(chainCount)
    expect(run.counts.foreign).toBeGreaterThan(chainCount / 4)

    // What the upstreams were asked, whatever the clients were told.
    expect(foreignIn(world, tenants)).toEqual([])
    expect([...run.refusals].map(([kind, told]) => [kind, told.size])).toEqual([...run.refusals].map(([kind]) => [kind, 1]))
    expect(new Set(world.sim.attempts.map(({ key }) => key)).size).toBe(accountCount)
    await world.quiet()
    await expectOwnBills(world)
  },
)

/** Each with two conversations, made one after the other so that the script can name them. */
async function openTenants(world: World): Promise<Tenant[]> {
  const issuerOf = issuers(world)
  const tenants: Tenant[] = []
  for (let number = 1; number <= tenantCount; number += 1) {
    const user = await world.addUser({ concurrency: 0 })
    const target = { url: world.url, key: (await world.addKey(user)).secret }
    const owned: Tenant['owned'] = { response: [], item: [], conversation: [] }
    for (const id of [`conv_${number}a`, `conv_${number}b`]) {
      world.sim.script({}, { conversation: id })
      const { json } = await send(target, { body: { model: 'sim', input: `tenant ${number}.` } })
      owned.conversation.push({ kind: 'conversation', id, at: issuerOf(json.id)! })
    }
    tenants.push({ number, target, owned })
  }
  world.sim.script({}, {})
  return tenants
}

function newChain(number: number, tenant: Tenant, chance: () => number): Chain {
  return { number, tenant, mine: [...tenant.owned.conversation], stepsLeft: between(chance, 2, 6) }
}

function newRun(world: World) {
  const issuerOf = issuers(world)
  const counts = { begun: 0, followed: 0, foreign: 0, unknown: 0 }
  const mistakes: string[] = []
  /** In how many ways a guess was answered, by what was guessed. */
  const refusals = new Map<Kind, Set<string>>()

  async function takeStep(step: Step): Promise<void> {
    const { chain, takes, guesses } = step
    const { response, refusal } = await take(step)
    const at = response && issuerOf(response.id)
    const mistake = mistakeIn(step, at, refusal?.body)
    if (mistake !== undefined) mistakes.push(`chain ${chain.number} of tenant ${chain.tenant.number}: ${mistake}`)
    counts[guesses ?? (takes === undefined ? 'begun' : 'followed')] += 1
    if (response !== undefined && at !== undefined) {
      const left = leftBy(response, at)
      chain.mine.push(...left)
      for (const each of left) chain.tenant.owned[each.kind].push(each)
    }
    if (refusal === undefined || takes === undefined) return
    const told = refusals.get(takes.kind) ?? new Set()
    refusals.set(takes.kind, told.add(takes.kind === 'item' ? itemTelling(refusal.json, takes.id) : telling(refusal, takes.id)))
  }

  return { take: takeStep, counts, mistakes, refusals }
}

/** An item that nobody owns is asked for upstream, whose words are relayed: they say the same, in another order. */
function itemTelling({ error }: { readonly [name: string]: unknown }, id: string): string {
  const { type, code, param, message } = error as Readonly<Record<string, unknown>>
  return JSON.stringify([type, code, param, String(message).replaceAll(id, 'id')])
}

function mistakeIn({ takes, guesses }: Step, at: string | undefined, refusal: string | undefined): string | undefined {
  const what = `${takes?.kind} ${takes?.id}`
  if (guesses !== undefined) return refusal === undefined ? `the ${guesses} ${what} was served` : undefined
  if (refusal !== undefined) return `${what} of its own was refused: ${refusal}`
  if (at === undefined) return `no account has a line for what came of ${what}`
  return takes === undefined || takes.at === at ? undefined : `${what} of ${takes.at} went to ${at}`
}

/** Requests that reached an upstream and named something of somebody else's. */
function foreignIn({ sim }: World, tenants: readonly Tenant[]): string[] {
  const owners = new Map(
    tenants.flatMap(({ number, owned }) =>
      Object.values(owned)
        .flat()
        .map(({ id }) => [id, number]),
    ),
  )
  return sim.attempts.flatMap(({ body, key }) => {
    const text = body.toString()
    const { previous_response_id: response, conversation, input } = JSON.parse(text)
    const referred = Array.isArray(input) ? input.map(({ id }) => id) : []
    const foreign = [response, conversation, ...referred].filter(id => owners.has(id) && owners.get(id) !== tenantOf(text))
    return foreign.map(id => `${key} was asked for ${id} by tenant ${tenantOf(text)}`)
  })
}

/** What all paid together is what the upstreams charged, to the nano-dollar. */
async function expectOwnBills(world: World): Promise<void> {
  const paid = (await world.rows()).reduce((sum, { cost }) => sum + (cost as bigint), 0n)
  expect(paid).toBe(world.sim.invoice.reduce((sum, { costNanos }) => sum + costNanos, 0n))
}
