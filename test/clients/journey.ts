import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { calm } from '../../src/coordination/coordinator.ts'
import type { Target } from '../client.ts'
import { callsSince, markCalls } from '../journey/books.ts'
import { openWorld, type World } from '../world.ts'
import { type Answered, type Refusal, type Report, type Situation, type SituationName, situations, type Whose } from './situations.ts'

export type How = 'whole' | 'stream'

/** A client with the retries that it comes with. Whatever it throws, or tells in its stream, stands in the report. */
export type Ask = (target: Target, asked: { readonly model: string; readonly how: How }) => Promise<Report>

/** What a client says, and how many requests it made until then. Default: one. `usage` is held against the invoice where the client tells it. */
export type Expected = Omit<Report, 'usage'> & { readonly requests?: number }

/** What a client makes of what it meets. */
export interface Manner {
  /** Of a situation that is the same as JSON and as a stream, one; else one for each. */
  readonly answers: Readonly<Record<Answered, Expected | { readonly [H in How]: Expected }>>
  readonly refused: (refusal: Refusal) => Expected
  /** Clients that wait long before they try again are asked once. Default: both. */
  readonly refusedHow?: readonly How[]
}

export interface ClientWorld {
  readonly world: World
  targetOf(whose: Whose): Target
  /** Since the last reset. */
  readonly requests: number
  reset(): Promise<void>
}

/** One world for a whole file: the gateway, one account, and a key for each who may ask. */
export function clientWorld(): () => ClientWorld {
  let opened: ClientWorld & { readonly world: World }
  beforeAll(async () => {
    opened = await openClientWorld()
  })
  beforeEach(() => opened.reset())
  afterAll(async () => {
    await opened.world.quiet()
    await opened.world[Symbol.asyncDispose]()
  })
  return () => opened
}

async function openClientWorld(): Promise<ClientWorld> {
  const world = await openWorld({
    accounts: [{ models: { sim: 'sim', costless: 'nobody-prices-this' } }],
    // A failing account is not asked twice for one request: what the client does itself is what is to be seen.
    settings: { switchesMax: 0, overloadRestMs: 1_000, authRestsMs: [1], circuitFailures: 1_000 },
  })
  const keys: Record<Whose, string> = {
    good: world.key,
    poor: (await world.addKey(await world.addUser({}, '0'))).secret,
    denied: (await world.addKey(world.user, { denyAddresses: ['127.0.0.0/8'] })).secret,
    unknown: 'sk-hg-nobody',
  }
  const { serving } = world.headgate
  let before = 0
  return {
    world,
    targetOf: whose => ({ url: world.url, key: keys[whose] }),
    get requests() {
      return serving.calls.total - before
    },
    async reset() {
      for (const { id } of world.accounts) await world.headgate.gateway.coordinator.change(id, () => calm)
      world.sim.reset()
      world.sim.script({}, {})
      await markCalls(world)
      before = serving.calls.total
    },
  }
}

/** Sends a client through every situation, whole and streamed, and holds what it says against what its file says. */
export function meetAll(client: string, ask: Ask, manner: Manner, open: () => ClientWorld): void {
  const cases = Object.entries(situations).flatMap(([name, situation]: [string, Situation]) =>
    howsOf(situation, manner).map(how => ({ name, how, situation, expected: expectedOf(name, how, manner) })),
  )
  describe(client, () => {
    test.for(cases)('$name ($how)', async ({ how, situation, expected: { requests = 1, ...expected } }) => {
      const { world, targetOf } = open()
      world.sim.script({}, situation.script ?? {})
      const { usage, ...report } = await ask(targetOf(situation.key ?? 'good'), { model: situation.model ?? 'sim', how })
      expect(report).toEqual(expected)
      expect(open().requests).toBe(requests)
      await expectBooked(world, situation, usage)
    })
  })
}

function howsOf({ streamsOnly, refusal }: Situation, { refusedHow = ['whole', 'stream'] }: Manner): readonly How[] {
  if (refusal !== undefined) return refusedHow
  return streamsOnly ? ['stream'] : ['whole', 'stream']
}

function expectedOf(name: string, how: How, { answers, refused }: Manner): Expected {
  const { refusal } = situations[name as SituationName] as Situation
  if (refusal !== undefined) return refused(refusal)
  const found = answers[name as Answered]
  return 'text' in found ? found : found[how]
}

/** The last of the client's calls is what its user was told of; only what an upstream answered costs anything. */
async function expectBooked(world: World, { key, ended }: Situation, usage: Report['usage']): Promise<void> {
  await world.quiet()
  const rows = await callsSince(world)
  if (key === 'unknown' || key === 'denied') return
  const last = rows.at(-1)
  const invoiced = world.sim.invoice.filter(({ answered, status }) => answered && status === 200).at(-1)
  expect(ended).toContain(last?.ended)
  if (last?.basis === 'reported') expect(last.cost).toBe(invoiced?.costNanos)
  if (usage !== undefined) expect(usage).toEqual({ input: invoiced?.usage.inputTokens, output: invoiced?.usage.outputTokens })
}
