import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { heldCall } from './books.fixture.ts'
import { openSlips, placesInFile, readSlips, type Slip, type Slips } from './slips.ts'

let folder: string
let file: string
let slips: Slips
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'headgate-slips-'))
  file = join(folder, 'holds.slips')
  slips = openSlips(file)
})
afterEach(() => {
  slips.close()
  rmSync(folder, { recursive: true })
})

test('what was made out and flushed is what the next one reads', () => {
  expect(readSlips(file), 'a new one').toEqual([])
  expect(readSlips(join(folder, 'none'))).toEqual([])
  const whole: Slip = { ...slip('a'), want: 2n ** 70n, model: 'gpt-ü"\n', stream: false }
  slips.add(whole, undefined)
  expect(readSlips(file), 'before it was flushed').toEqual([])
  slips.add(slip('b'), 1)
  slips.flush()
  expect(readSlips(file)).toEqual([whole, slip('b')])
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('nothing is read that is struck, or older than the oldest that was not over', () => {
  for (const name of ['a', 'b', 'c']) slips.add(slip(name), 1)
  slips.flush()
  slips.strike(2)
  expect(names()).toEqual(['a', 'c'])
  slips.add(slip('d'), 3) // By now a is in the books.
  slips.flush()
  expect(names()).toEqual(['c', 'd'])
  slips.add(slip('e'), 3)
  slips.strike(5) // Before it was flushed.
  slips.flush()
  expect(names()).toEqual(['c', 'd'])
})

test('the file is written round and round, and keeps its size', () => {
  const { size } = statSync(file)
  for (let count = 1; count <= placesInFile - 3; count += 1) slips.add(slip(`old ${count}`), count)
  slips.flush()
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) slips.add(slip(name), placesInFile - 2)
  slips.flush()
  expect(names()).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
  expect(statSync(file).size).toBe(size)
})

test('a slip that is not over is never written over', () => {
  for (let count = 0; count < placesInFile; count += 1) expect(slips.add(slip(`r${count}`), 1)).toBe(count + 1)
  expect(slips.add(slip('one more'), 1)).toBeUndefined()
  slips.flush()
  expect(readSlips(file)).toHaveLength(placesInFile)
  expect(slips.add(slip('one more'), 2)).toBe(placesInFile + 1)
})

test('a line that is too long is refused, and one that was not written whole never was', () => {
  expect(slips.add({ ...slip('a'), model: 'm'.repeat(500) }, undefined)).toBeUndefined()
  slips.add(slip('a'), undefined)
  slips.add(slip('b'), 1)
  slips.flush()
  const bytes = readFileSync(file)
  bytes[2 * 512 + 20]! ^= 1
  writeFileSync(file, bytes)
  expect(names()).toEqual(['a'])
  truncateSync(file, 512 + 20)
  expect(names()).toEqual([])
})

test('a file that cannot be used is a sentence for the operator', () => {
  expect(() => openSlips(join(folder, 'no', 'folder'))).toThrow(/^The file of holds .*folder cannot be used: ENOENT/)
  expect(() => readSlips(folder)).toThrow(/cannot be used: EISDIR/)
})

function names(): string[] {
  return readSlips(file).map(({ callId }) => callId)
}

function slip(callId: string): Slip {
  return { ...heldCall(1_000), callId, walletId: 'w', want: 5n }
}
