import { expect, test } from 'vitest'
import type { Condition } from '../coordination/coordinator.ts'
import { type Account, type Capabilities, defaultCapabilities } from '../directory/entities.ts'
import { chat } from '../protocols/openai-chat.ts'
import { embeddings } from '../protocols/openai-embeddings.ts'
import { responses } from '../protocols/openai-responses.ts'
import type { CallFacts } from '../protocols/protocol.ts'
import { lacks, type Readiness, readinessOf, restsUntilMs, upstreamModel, whyNot } from './account.ts'
import { candidate } from './candidate.fixture.ts'

const nowMs = Date.parse('2026-11-22T10:00:00Z')
const past = nowMs - 1
const soon = nowMs + 1000

const names: readonly (readonly [Record<string, string>, string, string | undefined])[] = [
  [{}, 'gpt', 'gpt'],
  [{ gpt: 'gpt' }, 'gpt', 'gpt'],
  [{ gpt: 'deployment-7' }, 'gpt', 'deployment-7'],
  [{ gpt: 'gpt' }, 'other', undefined],
  [{ gpt: 'gpt' }, 'toString', undefined],
  [{}, 'constructor', 'constructor'],
]

test.for(names)('the table %j calls %s %s', ([models, asked, wanted]) => {
  expect(upstreamModel(candidate('a', { models }).account, asked)).toBe(wanted)
})

const readiness: readonly (readonly [Partial<Account & Condition>, Readiness])[] = [
  [{}, 'free'],
  [{ taken: 9 }, 'free'],
  [{ taken: 10 }, 'full'],
  [{ taken: 11 }, 'full'],
  [{ taken: 999, concurrency: 0 }, 'free'],
  [{ taken: 999, concurrency: -1 }, 'free'],
  [{ restingUntilMs: soon }, 'resting'],
  [{ restingUntilMs: nowMs }, 'free'],
  [{ restingUntilMs: soon, taken: 10 }, 'resting'],
  [{ modelRests: { sim: soon } }, 'resting'],
  [{ modelRests: { sim: past } }, 'free'],
  [{ modelRests: { other: soon } }, 'free'],
  [{ outSinceMs: past, probeAtMs: soon }, 'out'],
  [{ outSinceMs: past, probeAtMs: nowMs }, 'probe'],
  [{ outSinceMs: past, probeAtMs: nowMs, probing: true }, 'out'],
  [{ outSinceMs: past, probeAtMs: nowMs, taken: 10 }, 'out'],
  [{ circuitSinceMs: past, probeAtMs: soon }, 'circuit'],
  [{ circuitSinceMs: past, probeAtMs: nowMs }, 'probe'],
  [{ circuitSinceMs: past, probeAtMs: nowMs, probing: true }, 'circuit'],
  [{ circuitSinceMs: past, outSinceMs: past, probeAtMs: soon }, 'out'],
  [{ circuitSinceMs: past, probeAtMs: nowMs, restingUntilMs: soon }, 'resting'],
  [{ disabled: true, restingUntilMs: soon }, 'disabled'],
]

test.for(readiness)('%j is %s', ([said, wanted]) => {
  expect(readinessOf(candidate('a', said), nowMs)).toBe(wanted)
})

test('a rest ends when the account’s and the model’s are both over', () => {
  expect(restsUntilMs(candidate('a', { restingUntilMs: soon, modelRests: { sim: soon + 1 } }), nowMs)).toBe(soon + 1)
  expect(restsUntilMs(candidate('a', { restingUntilMs: past, modelRests: { other: soon } }), nowMs)).toBeUndefined()
})

test('reasons are counted, the soonest of each is told, and no account is named', () => {
  const resting = [candidate('one', { restingUntilMs: soon + 5000 }), candidate('two', { restingUntilMs: soon })]
  const out = candidate('three', { outSinceMs: past, probeAtMs: soon })
  const failing = candidate('four', { circuitSinceMs: past, probeAtMs: soon })
  const others = [candidate('five', { taken: 10 }), candidate('six', { disabled: true })]
  const soonText = '2026-11-22T10:00:01.000Z'
  expect(whyNot(resting.slice(1), nowMs)).toBe(`resting until ${soonText}`)
  expect(whyNot(resting, nowMs)).toBe(`all resting until ${soonText}`)
  expect(whyNot([...resting, out, failing, ...others], nowMs)).toBe(
    `2 resting until ${soonText}, 1 out of quota, 1 failing, next probe at ${soonText}, 1 busy, 1 disabled`,
  )
})

const wishes: readonly (readonly [Partial<Capabilities>, Partial<CallFacts>, string | undefined])[] = [
  [{}, {}, undefined],
  [{}, { previousResponseId: 'resp_1', serviceTier: 'flex', hasHostedTools: true }, undefined],
  [{ stateful: false }, { previousResponseId: 'resp_1' }, 'keeps no responses'],
  [{ stateful: false }, {}, undefined],
  [{ serviceTiers: false }, { serviceTier: 'flex' }, 'has no service tier flex'],
  [{ serviceTiers: false }, { serviceTier: 'auto' }, undefined],
  [{ serviceTiers: false }, { serviceTier: 'default' }, undefined],
  [{ hostedTools: false }, { hasHostedTools: true }, 'runs no hosted tools'],
]

test.for(wishes)('with %j, a call for %j %s', ([capabilities, facts, wanted]) => {
  const { account } = candidate('a', { capabilities: { ...defaultCapabilities, ...capabilities } })
  expect(lacks(account, facts as CallFacts, responses)).toBe(wanted)
})

test.each([
  [responses, 'speaks no Responses API'],
  [chat, 'speaks no Chat Completions API'],
  [embeddings, 'speaks no Embeddings API'],
])('an account that does not speak a protocol says so', (protocol, wanted) => {
  const { account } = candidate('a', { capabilities: { ...defaultCapabilities, [protocol.name]: false } })
  expect(lacks(account, {} as CallFacts, protocol)).toBe(wanted)
})
