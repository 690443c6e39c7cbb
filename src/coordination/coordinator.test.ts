import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { redisProgram, whyNoRedis } from '../../test/redis-server.ts'
import { manualClock } from '../ledger/books.fixture.ts'
import { Fault } from '../lib/fault.ts'
import { calm, type Slot } from './coordinator.ts'
import { a, b, caller, engines, entry, nobody, notebook, patient, type Watched } from './engines.fixture.ts'

test('the same in Redis', ({ skip }) => {
  if (redisProgram === undefined) skip(whyNoRedis)
})

describe.each(engines)('users’ lines, $name', ({ open, runs }) => {
  test('first in, first out, woken by the release itself', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    for (const name of ['a', 'b', 'c', 'd']) seen.note(name, lines.enter(caller('u', 2), patient))
    expect(await seen.settled()).toEqual(['a', 'b'])
    await seen.give('b')
    expect(await seen.settled()).toEqual(['c'])
    await seen.give('a')
    expect(await seen.settled()).toEqual(['d'])
    expect(lines.linesNow()).toEqual({ ...nobody, callersRunning: 2 })
    await seen.giveAll()
    expect(lines.linesNow()).toEqual(nobody)
  })

  test('a slot that is given back twice is given back once', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    for (const name of ['a', 'b', 'c']) seen.note(name, lines.enter(caller('u', 1), patient))
    await seen.settled()
    await seen.give('a')
    await seen.give('a')
    expect(await seen.settled()).toEqual(['b'])
  })

  test('the slots of user and key are taken together, and a full key holds up no other', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    const narrow = caller('u', 2, 'narrow', 1)
    const wide = caller('u', 2, 'wide')
    seen.note('n1', lines.enter(narrow, patient))
    seen.note('n2', lines.enter(narrow, patient))
    seen.note('w1', lines.enter(wide, patient))
    seen.note('w2', lines.enter(wide, patient))
    expect(await seen.settled()).toEqual(['n1', 'w1'])
    await seen.give('w1')
    expect(await seen.settled()).toEqual(['w2'])
    await seen.give('w2')
    expect(await seen.settled()).toEqual([])
    await seen.give('n1')
    expect(await seen.settled()).toEqual(['n2'])
  })

  test('a full line is a fault at once; who leaves makes room', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    const leaving = new AbortController()
    const short = { ...caller('u', 1), waitingMax: 2 }
    seen.note('a', lines.enter(short, patient))
    seen.note('b', lines.enter(short, leaving))
    seen.note('c', lines.enter(short, patient))
    seen.note('d', lines.enter(short, patient))
    expect(await seen.settled()).toEqual(['a', 'd: line_full'])
    leaving.abort(new Fault('client_left'))
    seen.note('e', lines.enter(short, patient))
    expect(await seen.settled()).toEqual(['b: client_left'])
    await seen.give('a')
    expect(await seen.settled()).toEqual(['c'])
    seen.note('late', lines.enter(short, leaving))
    expect(await seen.settled()).toEqual(['late: client_left'])
  })

  test('0 and less is no limit', async () => {
    const lines = await open(manualClock(0))
    for (const slots of [0, -1]) for (let i = 0; i < 50; i++) await lines.enter(caller(`u${slots}`, slots, 'k', slots), patient)
    expect(lines.linesNow()).toEqual({ ...nobody, callersRunning: 100 })
  })

  test.for<[string, (lines: Watched) => unknown]>([
    ['by a newcomer', lines => void lines.enter(caller('u', 3), patient)],
    ['by whoever says so', lines => lines.renew(caller('u', 3))],
  ])('a limit that is raised %s moves the line at once', async ([, raise]) => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    for (const name of ['a', 'b', 'c', 'd']) seen.note(name, lines.enter(caller('u', 1), patient))
    expect(await seen.settled()).toEqual(['a'])
    raise(lines)
    expect(await seen.settled()).toEqual(['b', 'c'])
    await lines.renew(caller('u', 0))
    expect(await seen.settled()).toEqual(['d'])
  })

  test('a limit of a key concerns that key alone, and one that nobody waits for concerns nobody', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    for (const key of ['x', 'y']) for (const n of [1, 2]) seen.note(`${key}${n}`, lines.enter(caller('u', 9, key, 1), patient))
    expect(await seen.settled()).toEqual(['x1', 'y1'])
    await lines.renew(caller('u', 9, 'x', 2))
    expect(await seen.settled()).toEqual(['x2'])
    await lines.renew(caller('stranger', 1))
    expect(lines.linesNow()).toEqual({ ...nobody, callersRunning: 3, callersWaiting: 1 })
  })

  test('whatever comes and goes, limits hold, nobody waits who need not, and nothing is left', async () => {
    const act = fc.record({
      what: fc.constantFrom('enter', 'enter', 'give', 'leave'),
      user: fc.constantFrom('u', 'v'),
      key: fc.constantFrom('x', 'y'),
      which: fc.nat(20),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 60, size: 'max' }), async acts => {
        const lines = await open(manualClock(0))
        const running: { readonly user: string; readonly key: string; readonly slot: Slot }[] = []
        const waiting = new Map<AbortController, { readonly user: string; readonly key: string }>()
        for (const { what, user, key, which } of acts) {
          if (what === 'enter') {
            const leaving = new AbortController()
            waiting.set(leaving, { user, key })
            const over = () => waiting.delete(leaving)
            lines.enter(caller(user, 3, key, 2), leaving).then(slot => over() && running.push({ user, key, slot }), over)
          } else if (what === 'give') {
            const [given] = running.splice(which % Math.max(1, running.length), 1)
            await given?.slot[Symbol.asyncDispose]()
          } else {
            ;[...waiting.keys()].at(which % Math.max(1, waiting.size))?.abort(new Error('gone'))
          }
          await lines.settled()
          const of = (user: string, key?: string) => running.filter(one => one.user === user && (key ?? one.key) === one.key).length
          for (const one of ['u', 'v']) expect(of(one)).toBeLessThanOrEqual(3)
          for (const { user, key } of running) expect(of(user, key)).toBeLessThanOrEqual(2)
          for (const { user, key } of waiting.values()) expect(of(user) === 3 || of(user, key) === 2).toBe(true)
          expect(lines.linesNow()).toEqual({ ...nobody, callersRunning: running.length, callersWaiting: waiting.size })
        }
        for (const leaving of waiting.keys()) leaving.abort(new Error('gone'))
        for (const { slot } of running) await slot[Symbol.asyncDispose]()
        expect(lines.linesNow()).toEqual(nobody)
      }),
      { numRuns: runs },
    )
  })
})

describe.each(engines)('pools’ lines, $name', ({ open }) => {
  test('a freed slot goes to the next user in turn, to their oldest entry', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    seen.note('first', lines.wait(entry('greedy', [a]), patient))
    for (const n of [1, 2, 3]) seen.note(`greedy${n}`, lines.wait(entry('greedy', [a]), patient))
    seen.note('modest1', lines.wait(entry('modest', [a]), patient))
    seen.note('other1', lines.wait(entry('other', [a]), patient))
    expect(await seen.settled()).toEqual(['first@a'])
    const turns: string[] = []
    for (let last = 'first'; turns.length < 5; last = turns.at(-1)!.slice(0, -2)) {
      await seen.give(last)
      turns.push(...(await seen.settled()))
    }
    expect(turns).toEqual(['greedy1@a', 'modest1@a', 'other1@a', 'greedy2@a', 'greedy3@a'])
    await seen.giveAll()
    expect(lines.linesNow()).toEqual(nobody)
  })

  test('a user whose entries cannot use the freed account keeps their turn', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    seen.note('onA', lines.wait(entry('x', [a]), patient))
    seen.note('onB', lines.wait(entry('x', [b]), patient))
    seen.note('bound', lines.wait(entry('u', [b]), patient))
    seen.note('free', lines.wait(entry('v', [a, b]), patient))
    expect(await seen.settled()).toEqual(['onA@a', 'onB@b'])
    await seen.give('onA')
    expect(await seen.settled()).toEqual(['free@a'])
    await seen.give('onB')
    expect(await seen.settled()).toEqual(['bound@b'])
  })

  test('an account in two pools is shared by them in turn', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    seen.note('first', lines.wait(entry('u', [a]), patient))
    for (const n of [1, 2]) seen.note(`p${n}`, lines.wait(entry('u', [a]), patient))
    for (const n of [1, 2]) seen.note(`q${n}`, lines.wait(entry('u', [a], { pool: 'q' }), patient))
    await seen.settled()
    const turns: string[] = []
    for (let last = 'first'; turns.length < 4; last = turns.at(-1)!.slice(0, -2)) {
      await seen.give(last)
      turns.push(...(await seen.settled()))
    }
    expect(turns).toEqual(['p1@a', 'q1@a', 'p2@a', 'q2@a'])
  })

  test('a full line and a full binding are faults at once; who leaves makes room in both', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    const leaving = new AbortController()
    const only = { name: 'sticky:a', waitingMax: 1 }
    await lines.take(a)
    seen.note('bound1', lines.wait(entry('u', [a], { only, waitingMax: 2 }), leaving))
    seen.note('bound2', lines.wait(entry('u', [a], { only, waitingMax: 2 }), patient))
    seen.note('plain1', lines.wait(entry('u', [a], { waitingMax: 2 }), patient))
    seen.note('plain2', lines.wait(entry('u', [a], { waitingMax: 2 }), patient))
    expect(await seen.settled()).toEqual(['bound2: line_full', 'plain2: line_full'])
    leaving.abort(new Fault('client_left'))
    seen.note('bound3', lines.wait(entry('u', [a], { only, waitingMax: 2 }), patient))
    expect(await seen.settled()).toEqual(['bound1: client_left'])
    expect(lines.linesNow()).toEqual({ ...nobody, accountsTaken: 1, accountsWaiting: 2 })
  })

  test('a raised limit moves the line as soon as somebody names it; a lowered one binds new slots only', async () => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    for (const n of [1, 2, 3]) seen.note(`w${n}`, lines.wait(entry('u', [a]), patient))
    expect(await seen.settled()).toEqual(['w1@a'])
    expect(await lines.take({ ...a, slots: 2 })).toBeUndefined()
    expect(await seen.settled()).toEqual(['w2@a'])
    expect(await lines.take(a)).toBeUndefined()
    await seen.give('w1')
    expect(await seen.settled()).toEqual([])
    await seen.give('w2')
    expect(await seen.settled()).toEqual(['w3@a'])
  })

  test('an account that rests is given to nobody before its rest has ended, and then at once', async () => {
    const clock = manualClock(1_000_000)
    const lines = await open(clock)
    const seen = notebook(lines)
    const rest = (untilMs: number) => lines.change('a', condition => ({ ...condition, restingUntilMs: untilMs }))
    await rest(clock.nowMs() + 5_000)
    seen.note('w', lines.wait(entry('u', [a]), patient))
    clock.advance(4_000)
    await rest(clock.nowMs() + 5_000)
    clock.advance(4_999)
    expect(await seen.settled()).toEqual([])
    clock.advance(1)
    expect(await seen.settled()).toEqual(['w@a'])
  })

  test.for<[string, object, object]>([
    ['out of quota', { outSinceMs: 1 }, { outSinceMs: null }],
    ['behind an open circuit', { circuitSinceMs: 1 }, { circuitSinceMs: null }],
  ])('an account %s is given to nobody until that is over', async ([, bad, good]) => {
    const lines = await open(manualClock(0))
    const seen = notebook(lines)
    await lines.change('a', condition => ({ ...condition, ...bad }))
    seen.note('w', lines.wait(entry('u', [a]), patient))
    expect(await seen.settled()).toEqual([])
    await lines.change('a', condition => ({ ...condition, ...good }))
    expect(await seen.settled()).toEqual(['w@a'])
  })

  test('conditions come in the order asked, strangers are calm, and what is taken nobody else can change', async () => {
    const clock = manualClock(77)
    const lines = await open(clock)
    await lines.take(a)
    const changed = await lines.change('a', condition => ({ ...condition, taken: 9, lastUsedMs: 9, failures: 3 }))
    expect(changed).toMatchObject({ taken: 1, lastUsedMs: 77, failures: 3 })
    expect(await lines.conditions(['b', 'a'])).toEqual([calm, changed])
  })
})

describe.each(engines)('sessions, $name', ({ open }) => {
  test('are bound for a time that each use renews', async () => {
    const clock = manualClock(0)
    const { session, bindSession } = await open(clock)
    expect(await session('s', 1_000)).toBeUndefined()
    await bindSession('s', 'a', 1_000)
    for (let i = 0; i < 3; i++) {
      clock.advance(999)
      expect(await session('s', 1_000)).toBe('a')
    }
    clock.advance(1_000)
    expect(await session('s', 1_000)).toBeUndefined()
    await bindSession('s', 'a', 1_000)
    await bindSession('s', 'b', 1_000)
    expect(await session('s', 1_000)).toBe('b')
  })
})
