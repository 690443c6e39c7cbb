import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { onRedis } from '../../test/redis-server.ts'
import { until } from '../../test/world.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import type { AccountLimit, Caller, Slot } from './coordinator.ts'
import { openBed, type RedisBed, settled } from './redis.fixture.ts'
import type { RedisCoordinator } from './redis.ts'
import { slotOf } from './slots.fixture.ts'

const patient = new AbortController()
const caller = (userSlots: number, userId = 'u', keyId = 'k'): Caller => ({ userId, keyId, userSlots, keySlots: 0, waitingMax: 100 })
const a: AccountLimit = { accountId: 'a', slots: 1 }
const entry = (userId: string, accounts = [a]) => ({ pool: 'p', userId, accounts, waitingMax: 100 })

/** So short that a test can wait for the end of a lease. Milliseconds. */
const shortLeaseMs = 2_000

onRedis('several gateways on one Redis', () => {
  let bed: RedisBed
  beforeAll(async () => {
    bed = await openBed('a cluster')
  })
  beforeEach(() => bed.clear())
  afterAll(() => bed[Symbol.asyncDispose]())

  /** Notes in which order slots were got. */
  function notes() {
    const order: string[] = []
    return {
      order,
      note: (name: string, got: Promise<unknown>) => got.then(() => order.push(name)),
    }
  }

  /** A clock by which a process says that it is alive when the test says so. */
  function heldBeats() {
    const due: (() => void)[] = []
    const beatMs = 3_000
    const clock: Clock = {
      ...systemClock,
      after(ms, then) {
        if (ms !== beatMs) return systemClock.after(ms, then)
        due.push(then)
        return { restart() {}, [Symbol.dispose]() {} }
      },
    }
    return { clock, leaseMs: 10 * beatMs, beat: () => due.splice(0).at(-1)?.() }
  }

  const two = () => Promise.all([bed.open(), bed.open()])
  const give = (slot: Slot) => slot[Symbol.asyncDispose]()
  const allSettled = async (...lines: readonly RedisCoordinator[]) => {
    for (let i = 0; i < 2; i++) for (const one of lines) await settled(one)
  }

  test('a user’s line is one line: first in, first out, wherever one stands', async () => {
    const [one, other] = await two()
    const { order, note } = notes()
    let slot = await one.enter(caller(1), patient)
    const got: Promise<Slot>[] = []
    for (const [i, lines] of [other, one, other, one].entries()) {
      got.push(lines.enter(caller(1), patient))
      void note(`${i}`, got[i]!)
      await settled(lines)
    }
    for (const next of got) {
      await give(slot)
      slot = await next
    }
    expect(order).toEqual(['0', '1', '2', '3'])
  })

  test('an account’s slots and a pool’s turns are everybody’s', async () => {
    const [one, other] = await two()
    const { order, note } = notes()
    const first = await one.take(a)
    expect(await other.take(a)).toBeUndefined()
    const got = []
    for (const [name, lines, user] of [
      ['greedy1', one, 'greedy'],
      ['greedy2', other, 'greedy'],
      ['modest', other, 'modest'],
    ] as const) {
      const granted = lines.wait(entry(user), patient)
      got.push([name, granted] as const)
      void note(name, granted)
      await settled(lines)
    }
    await give(slotOf(first))
    for (const name of ['greedy1', 'modest', 'greedy2']) {
      const slot = slotOf(await got.find(([mine]) => mine === name)![1])
      expect(order.at(-1)).toBe(name)
      await give(slot)
    }
  })

  test('meters, sessions and conditions are everybody’s, and no change is lost', async () => {
    const [one, other] = await two()
    const meter = { name: 'user:u:requests', owner: 'user:u', perMinute: 2, amount: 1 }
    for (const lines of [one, other]) expect(await lines.spend([meter])).toBeUndefined()
    expect(await one.spend([meter])).toMatchObject({ name: meter.name })
    await one.bindSession('s', 'a', 10_000)
    expect(await other.session('s', 10_000)).toBe('a')
    const failing = [one, other, await bed.open()].flatMap(lines =>
      Array.from({ length: 50 }, () => lines.change('a', condition => ({ ...condition, failures: condition.failures + 1 }))),
    )
    await Promise.all(failing)
    const fresh = await bed.open()
    expect(await fresh.conditions(['a'])).toMatchObject([{ failures: 150 }])
  })

  test('a node whose clock is a minute ahead rests an account no longer than others do', async () => {
    const ahead = await bed.open({ clock: { ...systemClock, nowMs: () => Date.now() + 60_000 } })
    const right = await bed.open()
    const untilMs = Date.now() + 30_000
    await ahead.change('a', condition => ({ ...condition, restingUntilMs: untilMs + 60_000 }))
    const [seen] = await right.conditions(['a'])
    expect(Math.abs(seen!.restingUntilMs - untilMs)).toBeLessThan(1_000)
    const [own] = await ahead.conditions(['a'])
    expect(own!.restingUntilMs).toBe(untilMs + 60_000)
  })

  test('a process killed with 200 calls gives back what it held, and its places', async () => {
    const lines = await bed.open({ leaseMs: shortLeaseMs })
    const holder = spawn(process.execPath, ['test/holder.ts', bed.server.url, 'victim', String(shortLeaseMs), '200'])
    await once(holder.stdout, 'data')
    const entering = lines.enter(caller(200), patient)
    const waiting = lines.wait(entry('v'), patient)
    await settled(lines)
    expect(lines.linesNow()).toMatchObject({ callersWaiting: 1, accountsWaiting: 1 })
    holder.kill('SIGKILL')
    await Promise.all([entering, waiting])
    // Its own waiting calls had come before, and were gone.
    expect(await bed.redis.hkeys('hg:{user:u}:run')).toEqual([expect.stringMatching(/^p/)])
    await until(() => lines.changes.some(({ kind }) => kind === 'freed'), 'it is not said')
    expect(lines.changes.at(-1)).toEqual({ kind: 'freed', process: 'victim', slots: 201 })
    expect(lines.nodes).toBe(1)
  })

  test('a process that ends in order leaves nothing for anybody to wait for', async () => {
    const [one, other] = await Promise.all([bed.open(), bed.open({ leaseMs: shortLeaseMs })])
    await one.enter(caller(1), patient)
    const next = other.enter(caller(1), patient)
    await settled(other)
    await one[Symbol.asyncDispose]()
    await next
  })

  test('one that was taken for dead comes back with what it runs, over the limit, and nobody is admitted until below it', async () => {
    const [ofOnes, ofOthers] = [heldBeats(), heldBeats()]
    const [one, other] = await Promise.all([bed.open(ofOnes), bed.open(ofOthers)])
    const ofOne = await one.enter(caller(1), patient)
    const next = other.enter(caller(1), patient)
    await settled(other)
    const process = (await bed.redis.hkeys('hg:{user:u}:run'))[0]!.split(':')[0]!
    // As if it had been silent for long.
    const [seconds = 0] = await bed.redis.time()
    await bed.redis
      .multi()
      .zrem('hg:{nodes}:alive', process)
      .hset('hg:{nodes}:dead', process, seconds * 1_000 + 999)
      .exec()
    ofOthers.beat()
    const ofOther = await next
    ofOnes.beat()
    await until(() => one.changes.some(change => change.kind === 'together' && change.over === 1), 'it never comes back')
    const third = other.enter(caller(1), patient)
    let isIn = false
    void third.then(() => (isIn = true))
    await give(ofOther)
    await allSettled(one, other)
    expect(isIn).toBe(false)
    await give(ofOne)
    await third
  })

  test('three gateways and whatever comes and goes: nobody over a limit, nobody waits who need not, nothing is left', async () => {
    const act = fc.record({
      what: fc.constantFrom('enter', 'enter', 'wait', 'wait', 'give', 'leave'),
      node: fc.nat(2),
      user: fc.constantFrom('u', 'v'),
      account: fc.constantFrom('a', 'b'),
      which: fc.nat(20),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 60, size: 'max' }), async acts => {
        await bed.clear()
        const nodes = await Promise.all([bed.open(), bed.open(), bed.open()])
        const running: { readonly of: string; readonly slot: Slot }[] = []
        const waiting = new Map<AbortController, string>()
        const note = (of: string, leaving: AbortController, got: Promise<{ of: string; slot: Slot }>) => {
          waiting.set(leaving, of)
          const over = () => waiting.delete(leaving)
          got.then(granted => over() && running.push(granted), over)
        }
        const of = (what: string) => running.filter(one => one.of === what).length
        for (const { what, node, user, account, which } of acts) {
          const lines = nodes[node]!
          const leaving = new AbortController()
          if (what === 'enter') {
            const got = lines.enter(caller(3, user), leaving)
            note(
              user,
              leaving,
              got.then(slot => ({ of: user, slot })),
            )
          } else if (what === 'wait') {
            const got = lines.wait(entry(user, [{ accountId: account, slots: 2 }]), leaving)
            note(
              account,
              leaving,
              got.then(turn => ({ of: account, slot: slotOf(turn) })),
            )
          } else if (what === 'give') {
            const [given] = running.splice(which % Math.max(1, running.length), 1)
            if (given) await give(given.slot)
          } else {
            ;[...waiting.keys()].at(which % Math.max(1, waiting.size))?.abort(new Error('gone'))
          }
          await allSettled(...nodes)
          for (const user of ['u', 'v']) expect(of(user)).toBeLessThanOrEqual(3)
          for (const account of ['a', 'b']) expect(of(account)).toBeLessThanOrEqual(2)
          for (const what of waiting.values()) expect(of(what)).toBe('uv'.includes(what) ? 3 : 2)
        }
        for (const leaving of waiting.keys()) leaving.abort(new Error('gone'))
        for (const { slot } of running) await give(slot)
        await allSettled(...nodes)
        expect(await bed.redis.keys('hg:{user:*')).toEqual([])
        expect((await bed.redis.keys('hg:{pools}:*')).filter(key => !/:(account:.|turn)$/.test(key))).toEqual([])
      }),
      { numRuns: 60 },
    )
  })

  /** Nothing that is published reaches anybody, until it is undone. */
  async function deafen(): Promise<() => Promise<unknown>> {
    const [, before = ''] = (await bed.redis.config('GET', 'maxclients')) as string[]
    const clients = String(await bed.redis.client('LIST'))
      .trim()
      .split('\n')
    await bed.redis.config('SET', 'maxclients', clients.filter(client => !/ sub=[1-9]/.test(client)).length)
    await bed.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    return () => bed.redis.config('SET', 'maxclients', before)
  }

  test('a slot whose notification is lost is found by asking', async () => {
    const [one, other] = await two()
    const slot = await one.enter(caller(1), patient)
    const account = await one.take(a)
    const next = other.enter(caller(1), patient)
    const nextAccount = other.wait(entry('v'), patient)
    await settled(other)
    const hearAgain = await deafen()
    await give(slot)
    await give(slotOf(account))
    await Promise.all([next, nextAccount])
    await hearAgain()
    expect(other.isAlone).toBe(false)
  })

  test('who leaves before they hear that their turn has come has spent nothing of a rate', async () => {
    const one = await bed.open()
    const checkMs = 1_000
    const unasking: Clock = {
      ...systemClock,
      after: (ms, then) => (ms === checkMs ? { restart() {}, [Symbol.dispose]() {} } : systemClock.after(ms, then)),
    }
    const other = await bed.open({ clock: unasking })
    const limit = { ...a, meters: [{ name: 'account:a:requests', owner: 'pools', perMinute: 1, amount: 1 }] }
    const account = slotOf(await one.take(a))
    const leaving = new AbortController()
    const next = other.wait(entry('v', [limit]), leaving)
    await settled(other)
    const hearAgain = await deafen()
    await give(account)
    await settled(one)
    expect(await bed.redis.hlen('hg:{pools}:run:a')).toBe(1)
    leaving.abort(new Error('gone'))
    await expect(next).rejects.toThrow('gone')
    await settled(other)
    slotOf(await one.take(limit))
    await hearAgain()
  })

  test('who waited for an account whose rates have no room finds that out by asking, too, and the slot is free', async () => {
    const [one, other] = await two()
    const limit = { ...a, meters: [{ name: 'account:a:requests', owner: 'pools', perMinute: 1, amount: 1 }] }
    const account = slotOf(await one.take(limit))
    const next = other.wait(entry('v', [limit]), patient)
    await settled(other)
    const hearAgain = await deafen()
    await give(account)
    expect(await next).toMatchObject({ accountId: 'a', over: { name: 'account:a:requests' } })
    await hearAgain()
    await allSettled(one, other)
    expect(await bed.redis.exists('hg:{pools}:run:a')).toBe(0)
    expect(other.isAlone).toBe(false)
  })

  test('a change of the directory is heard of by all others; with Redis away nobody is told, and nobody fails for it', async () => {
    const [one, other] = await two()
    let heard = 0
    const listening = other.onAnnounced(() => {
      heard += 1
    })
    await one.announce()
    await until(() => heard === 1, 'it is not heard of')
    bed.server.pause()
    await one.announce()
    bed.server.resume()
    await until(() => heard === 2, 'what Redis did after all is not heard of')
    listening[Symbol.dispose]()
  })
})
