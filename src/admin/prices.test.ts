import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { placePrice } from '../directory/price-line.ts'
import { type BookRead, changeBook, readBook } from '../directory/prices.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, openAdminBed } from './admin.fixture.ts'
import { priceOfSetup } from './entities.ts'
import { priceSchema } from './setup.ts'

let bed: AdminBed
beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
})
afterEach(() => bed.empty())
afterAll(() => bed[Symbol.asyncDispose]())

const sim = { model: 'sim', input: 2, output: '10' }

test('what is left out costs what fresh input costs', async () => {
  expect(await bed.ask(200, 'POST', '/prices', sim)).toEqual({
    ...{ id: expect.any(String), model: 'sim', tier: 'default', contextOver: 0, input: '2.00', cached: '2.00', cacheWrite: '2.00' },
    ...{ cacheWrite12h: '2.00', output: '10.00', webSearch: null, fileSearch: null, maxOutput: null, aliases: [], source: null },
    ...{ effectiveFrom: new Date(bed.clock.nowMs()).toISOString(), effectiveTo: null },
  })
  const dearer = await bed.ask(200, 'POST', '/prices', { ...sim, tier: 'flex', cacheWrite: '2.5', webSearch: '0.01' })
  expect(dearer).toMatchObject({ cached: '2.00', cacheWrite: '2.50', cacheWrite12h: '2.50', webSearch: '0.01' })
})

test('a changed price is a new version, and calls that began before keep the old one', async () => {
  const before = await bed.ask(200, 'POST', '/prices', sim)
  const beganMs = bed.clock.nowMs()
  bed.clock.advance(1000)
  const after = await bed.ask(200, 'POST', '/prices', { ...sim, output: '12' })
  const { priceBook } = bed.directory.snapshot()
  const find = (atMs: number) => priceBook.find({ model: 'sim', tier: 'default', contextTokens: 1, atMs })?.id
  expect([find(beganMs), find(beganMs + 999), find(beganMs + 1000)]).toEqual([before.id, before.id, after.id])
  expect((await bed.ask(200, 'GET', '/prices')).items).toEqual([after])
  const ended = { ...before, effectiveTo: after.effectiveFrom }
  for (const query of ['all=true', 'history=true'])
    expect((await bed.ask(200, 'GET', `/prices?model=sim&${query}`)).items).toEqual([ended, after])
})

test('the same price again is the same version', async () => {
  const first = await bed.ask(200, 'POST', '/prices', sim)
  bed.clock.advance(1000)
  expect(await bed.ask(200, 'POST', '/prices', { ...sim, input: '2.000', cached: '2' })).toEqual(first)
})

test('two versions in one millisecond are two versions, and the later one holds', async () => {
  await bed.ask(200, 'POST', '/prices', sim)
  const second = await bed.ask(200, 'POST', '/prices', { ...sim, output: '11' })
  expect((await bed.ask(200, 'GET', '/prices')).items).toEqual([second])
})

const day = 86_400_000

test('a price may be planned, and what holds now ends when it begins', async () => {
  const now = await bed.ask(200, 'POST', '/prices', sim)
  const from = new Date(bed.clock.nowMs() + day).toISOString()
  const until = new Date(bed.clock.nowMs() + 3 * day).toISOString()
  const planned = await bed.ask(200, 'POST', '/prices', { ...sim, output: '8', from, until })
  expect(planned).toMatchObject({ effectiveFrom: from, effectiveTo: until })
  expect((await bed.ask(200, 'GET', '/prices')).items).toMatchObject([
    { id: now.id, output: '10.00', effectiveTo: from },
    { id: planned.id, output: '8.00' },
    { output: '10.00', effectiveFrom: until, effectiveTo: null },
  ])
  const dearer = await bed.ask(200, 'POST', '/prices', { ...sim, output: '11' })
  expect(dearer).toMatchObject({ effectiveTo: from })
  const { priceBook } = bed.directory.snapshot()
  const output = (days: number) => {
    const atMs = bed.clock.nowMs() + days * day
    return priceBook.find({ model: 'sim', tier: 'default', contextTokens: 1, atMs })?.output
  }
  expect([output(0), output(1), output(2.999), output(3)]).toEqual([11_000_000_000n, 8_000_000_000n, 8_000_000_000n, 10_000_000_000n])
})

test('a price ends, now or later, and with it what was planned', async () => {
  const now = await bed.ask(200, 'POST', '/prices', sim)
  await bed.ask(200, 'POST', '/prices', { ...sim, tier: 'flex', output: '5' })
  const from = new Date(bed.clock.nowMs() + 2 * day).toISOString()
  const planned = await bed.ask(200, 'POST', '/prices', { ...sim, output: '8', from })
  const at = new Date(bed.clock.nowMs() + day).toISOString()
  expect((await bed.ask(200, 'POST', '/prices/end', { model: 'sim', at })).ended).toEqual([
    { ...now, effectiveTo: at },
    { ...planned, effectiveTo: from },
  ])
  expect((await bed.ask(200, 'GET', '/prices')).items).toMatchObject([{ id: now.id, effectiveTo: at }, { tier: 'flex' }])
  const { priceBook } = bed.directory.snapshot()
  const nowMs = bed.clock.nowMs()
  expect([nowMs + day - 1, nowMs + day].map(atMs => priceBook.resolve('sim', atMs))).toEqual(['sim', undefined])
  expect((await bed.ask(404, 'POST', '/prices/end', { model: 'sim', tier: 'batch' })).error.message).toBe(
    'The price sim batch 0 does not hold then; there is nothing to end.',
  )
})

test('what is over is not changed', async () => {
  await bed.ask(200, 'POST', '/prices', sim)
  bed.clock.advance(5000)
  const nowMs = bed.clock.nowMs()
  const [over, now, later] = [nowMs - 1, nowMs, nowMs + 1].map(ms => new Date(ms).toISOString())
  const cases = [
    ['/prices', { ...sim, from: over }, `from is ${over}, which is over; a price can change from now (${now}) on.`],
    ['/prices', { ...sim, until: now }, `until is ${now}; it takes a moment after ${now}, from which the price holds.`],
    ['/prices', { ...sim, from: later, until: later }, `until is ${later}; it takes a moment after ${later}, from which the price holds.`],
    ['/prices/end', { model: 'sim', at: over }, `at is ${over}, which is over; a price can change from now (${now}) on.`],
  ] as const
  for (const [path, body, message] of cases) expect((await bed.ask(422, 'POST', path, body)).error.message).toBe(message)
})

test('two nodes that change the book at once: one of them is told to look again', async () => {
  const nowMs = bed.clock.nowMs()
  const [mine, theirs] = await Promise.all([readBook(bed.database, nowMs), readBook(bed.database, nowMs)])
  const draft = priceOfSetup(priceSchema.parse(sim))
  const steps = (book: BookRead, fromMs: number) => {
    return changeBook(book, [placePrice(draft, { fromMs, untilMs: fromMs + 10 }, book.standing)], nowMs).steps
  }
  expect(await bed.database.commit(steps(mine, nowMs), 'ordered')).toMatchObject({ done: true })
  expect(await bed.database.commit(steps(theirs, nowMs + 5), 'ordered')).toEqual({
    ...{ done: false, guard: 'Somebody else changed the price book meanwhile; look at it and try again.' },
  })
})

test('the tier and the band make another line', async () => {
  await bed.ask(200, 'POST', '/prices', sim)
  await bed.ask(200, 'POST', '/prices', { ...sim, tier: 'flex', input: '1' })
  await bed.ask(200, 'POST', '/prices', { ...sim, contextOver: 200_000, input: '4' })
  await bed.ask(200, 'POST', '/prices', { ...sim, model: 'other' })
  expect((await bed.ask(200, 'GET', '/prices?model=sim')).items).toHaveLength(3)
})

test('a name has only one price', async () => {
  await bed.ask(200, 'POST', '/prices', { ...sim, aliases: ['sim-2026'] })
  const taken = [
    [{ ...sim, model: 'other', aliases: ['sim'] }, 'aliases[0] is "sim", which has a price of its own'],
    [{ ...sim, model: 'other', aliases: ['x', 'sim-2026'] }, 'aliases[1] is "sim-2026", which is an alias of sim'],
  ] as const
  for (const [body, message] of taken) expect((await bed.ask(422, 'POST', '/prices', body)).error.message).toContain(message)
  const own = await bed.ask(422, 'POST', '/prices', { ...sim, model: 'sim-2026' })
  expect(own.error).toMatchObject({
    path: ['model'],
    message: 'model is "sim-2026", which is an alias of sim; a name can have only one price.',
  })
  await bed.ask(200, 'POST', '/prices', { ...sim, tier: 'flex', aliases: ['sim-2026'] })
})

test('floats, negative rates and unknown fields are refused', async () => {
  const cases = [
    [{ ...sim, input: 2.5 }, 'input takes decimal text: write "2.5", in quotes.'],
    [{ ...sim, input: '-2' }, 'input is -2; it takes 0 or more.'],
    [{ ...sim, input: '0.0000000001' }, 'has more than nine decimals'],
    [{ model: 'sim', output: '1' }, 'input is missing.'],
    [{ ...sim, cache: '1' }, 'a price has no cache; it has model, tier'],
  ] as const
  for (const [body, message] of cases) expect((await bed.ask(422, 'POST', '/prices', body)).error.message).toContain(message)
})
