import { expect, test } from 'vitest'
import { seal } from '../../sim/seal.ts'
import { calm } from '../../src/coordination/coordinator.ts'
import { type CallFields, type Log, silentLog } from '../../src/lib/log.ts'
import { resting } from '../../src/upstreams/rest.ts'
import { type Asked, send } from '../client.ts'
import { inPoolLine, openWorld, until, type World, type WorldOptions } from '../world.ts'
import { limitByHand, limitMs } from './limit-by-hand.ts'

/** Encrypted reasoning and compacted histories are read by the organisation that made them. The session says, softly, which one that is. */

const organisations = { 'up-a1': 'red', 'up-a2': 'red', 'up-a3': 'blue' }
const three = [{ organization: 'red' }, { organization: 'red' }, { organization: 'blue', priority: 1 }]

/** Three accounts of two organisations, and a session at the first. The third would always be chosen, were it not for what this is about. */
async function openThree(options: WorldOptions = {}) {
  const world = await openWorld({ organisations, accounts: three, ...options })
  const { coordinator } = world.headgate.gateway
  await rest(world, 1, 2)
  await send(world, { headers })
  for (const { id } of world.accounts) await coordinator.change(id, () => calm)
  world.sim.reset()
  return world
}

const headers = { 'session-id': 's' }
const user = '{"role":"user","content":"and?"}'
const thought = (organisation: string) => `{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"${seal(organisation, 10)}"}`
const compacted = (organisation: string) => `{"type":"compaction","encrypted_content":"${seal(organisation, 10)}"}`
const bodyWith = (...items: string[]) => `{"big":12345678901234567890,"input":[${items.join(',')}],"model":"sim","store":false}`
const inSession = (...items: string[]): Asked => ({ headers, body: bodyWith(...items) })

const keys = ({ sim }: World) => sim.attempts.map(({ key }) => key)

async function rest({ headgate, accounts }: World, ...numbers: number[]): Promise<void> {
  const nowMs = Date.now()
  for (const number of numbers) {
    const change = (before: Parameters<typeof resting>[0]) => resting(before, { nowMs, untilMs: nowMs + 3_600_000, why: 'test' })
    await headgate.gateway.coordinator.change(accounts[number]!.id, change)
  }
}

test('a session whose account rests stays in its organisation, though another one is preferred', async () => {
  await using world = await openThree()
  await rest(world, 0)
  expect((await send(world, inSession(thought('red'), user))).status).toBe(200)
  expect((await send(world, { ...inSession(user), headers: {} })).status).toBe(200)
  expect(keys(world)).toEqual(['up-a2', 'up-a3'])
  expect((await world.rows()).map(({ repaired }) => repaired)).toEqual([null, null, null])
  await world.quiet()
})

test('an organisation that is only full is waited for', async () => {
  const accounts = three.map((draft, i) => (i < 2 ? { ...draft, concurrency: 1 } : draft))
  await using world = await openThree({ accounts, settings: { stickyWaitMs: 0 } })
  world.sim.script({ key: 'up-a1' }, [{ hold: 'busy' }, {}])
  world.sim.script({ key: 'up-a2' }, [{ hold: 'busy' }, {}])
  const busy = [send(world, inSession(thought('red'), user)), send(world, inSession(thought('red'), user))]
  await world.sim.seen(2)
  const waiting = send(world, inSession(thought('red'), user))
  await inPoolLine(world, 1)
  world.sim.open('busy')
  expect((await Promise.all([...busy, waiting])).map(({ status }) => status)).toEqual([200, 200, 200])
  expect(keys(world)).not.toContain('up-a3')
  await world.quiet()
})

test('when nobody there can be used, it goes elsewhere and is repaired once: stripped, told, and asked of the same account again', async () => {
  const lines: CallFields[] = []
  const log: Log = Object.assign(Object.create(silentLog), { call: (line: CallFields) => void lines.push(line) })
  await using world = await openThree({ log })
  await rest(world, 0, 1)
  const answer = await send(world, inSession(thought('red'), user, thought('red'), user))
  expect(answer.status).toBe(200)
  expect(world.sim.attempts.map(({ key, body }) => [key, body.toString()])).toEqual([
    ['up-a3', bodyWith(thought('red'), user, thought('red'), user)],
    ['up-a3', bodyWith(user, user)],
  ])
  const row = (await world.rows()).at(-1)!
  expect(row).toMatchObject({ ended: 'completed', repaired: '2 reasoning items', attempts: 2n, cost: world.sim.invoice[1]!.costNanos })
  expect((await world.attempts()).slice(1).map(({ status, fault, answered }) => [status, fault, answered])).toEqual([
    [400n, null, 0n],
    [200n, null, 1n],
  ])
  expect(lines.at(-1)).toMatchObject({ call: row.id, repaired: '2 reasoning items' })
  // It is the client's content and nobody's fault.
  expect((await world.conditions())[2]).toMatchObject({ failures: 0, successRate: 1 })
  // The session has moved.
  await send(world, inSession(thought('blue'), user))
  expect(keys(world)).toEqual(['up-a3', 'up-a3', 'up-a3'])
  await world.quiet()
})

test('after an account of the organisation failed the call, nobody there is left, and it is repaired elsewhere', async () => {
  await using world = await openThree()
  await rest(world, 1)
  world.sim.script({ key: 'up-a1' }, { status: 500 })
  const answer = await send(world, {
    ...inSession(compacted('red'), user),
    body: `{"stream":true,${bodyWith(compacted('red'), user).slice(1)}`,
  })
  expect(answer.body).toContain('response.completed')
  expect(keys(world)).toEqual(['up-a1', 'up-a3', 'up-a3'])
  expect((await world.rows()).at(-1)).toMatchObject({ repaired: '1 compacted history', attempts: 3n })
  await world.quiet()
})

test('without a session nobody knows where it came from; it is repaired all the same', async () => {
  await using world = await openThree()
  expect((await send(world, { body: bodyWith(thought('red'), user) })).status).toBe(200)
  expect(keys(world)).toEqual(['up-a3', 'up-a3'])
  await world.quiet()
})

test('an account of which nobody said anything is an organisation of its own', async () => {
  await using world = await openThree({ accounts: [{ concurrency: 1 }, {}, { priority: 1 }], settings: { stickyWaitMs: 0 } })
  world.sim.script({ key: 'up-a1' }, [{ hold: 'busy' }, {}])
  const busy = send(world, inSession(thought('red'), user))
  await world.sim.gate('busy').reached()
  const waiting = send(world, inSession(thought('red'), user))
  await inPoolLine(world, 1)
  world.sim.open('busy')
  expect((await Promise.all([busy, waiting])).map(({ status }) => status)).toEqual([200, 200])
  expect(keys(world)).toEqual(['up-a1', 'up-a1'])
  await world.quiet()
})

const words = { code: 'invalid_encrypted_content', message: 'The encrypted content gAAA...= could not be verified.' }

const unrepaired: readonly (readonly [string, string, number, WorldOptions])[] = [
  ['the upstream refuses it again', bodyWith(thought('red'), user), 2, {}],
  ['nothing would be left', bodyWith(compacted('red')), 1, {}],
  ['there is nothing to take out', bodyWith(user), 1, {}],
  ['no attempt is left', bodyWith(thought('red'), user), 1, { settings: { switchesMax: 0 } }],
]

test.for(unrepaired)('the upstream’s own words are relayed when %s', async ([, body, attempts, options]) => {
  await using world = await openThree(options)
  world.sim.script({}, { status: 400, error: words })
  const answer = await send(world, { headers, body })
  const theirs = await send({ url: world.sim.url, key: 'up-a3' }, { body })
  expect([answer.status, answer.body]).toEqual([400, theirs.body])
  expect((await world.rows()).at(-1)).toMatchObject({ ended: 'refused', attempts: BigInt(attempts), cost: 0n })
  await world.quiet()
})

test('a slow one of the organisation is waited for, though one of another is free', async () => {
  const limit = limitByHand()
  const options = { group: { firstEventLimitMs: limitMs }, adapters: { clock: limit.clock } }
  await using world = await openThree({ accounts: [three[0]!, three[2]!, three[2]!], ...options })
  world.sim.script({ key: 'up-a1' }, { hold: { gate: 'slow', at: 'firstEvent' } })
  const answer = send(world, { ...inSession(), body: `{"stream":true,${bodyWith(thought('red'), user).slice(1)}` })
  await world.sim.gate('slow').reached()
  limit.pass()
  await until(() => limit.waiting === 1, 'it is not looked again')
  world.sim.open('slow')
  expect((await answer).body).toContain('response.completed')
  expect(keys(world)).toEqual(['up-a1'])
  await world.quiet()
})

test('another refusal is no reason to take anything out', async () => {
  await using world = await openThree()
  world.sim.script({}, { status: 400 })
  expect((await send(world, inSession(thought('red'), user))).status).toBe(400)
  expect(keys(world)).toEqual(['up-a1'])
  await world.quiet()
})

test('a client that leaves during the repair is drained, and every slot comes back', async () => {
  await using world = await openThree()
  world.sim.script({ key: 'up-a3' }, [{}, { hold: 'repairing' }])
  const leaving = new AbortController()
  const asked = fetch(`${world.url}/v1/responses`, {
    method: 'POST',
    headers: { authorization: `Bearer ${world.key}`, 'content-type': 'application/json' },
    body: bodyWith(thought('red'), user),
    signal: leaving.signal,
  })
  asked.catch(() => {})
  await world.sim.gate('repairing').reached()
  leaving.abort()
  await until(() => world.headgate.gateway.drain.count === 1, 'the drain never takes it')
  world.sim.open('repairing')
  await world.quiet()
  expect((await world.rows()).at(-1)).toMatchObject({ ended: 'client_left', basis: 'drained', repaired: '1 reasoning item' })
})
