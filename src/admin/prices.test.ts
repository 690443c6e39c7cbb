import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { openSqlite } from '../storage/sqlite.ts'
import { type AdminBed, openAdminBed } from './admin.fixture.ts'

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
