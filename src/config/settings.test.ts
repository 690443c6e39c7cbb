import { expect, test } from 'vitest'
import { nearest } from './nearest.ts'
import { settingsPage } from './page.ts'
import { flagOf, groups, settingNames, settingOf, variableOf } from './settings.ts'

/** What a name that ends so is counted in. */
const unitsByEnding: readonly (readonly [RegExp, string])[] = [
  [/Ms$/, 'milliseconds'],
  [/BytesMax$|Bytes$/, 'bytes'],
]

test.each(settingNames.map(name => [name]))('%s says what it does, in sentences, and what it takes', name => {
  const { about, takes, unit, kind } = settingOf(name)
  expect(about).toMatch(/^[A-Z].{20,}\.$/)
  expect(takes).not.toBe('')
  if (kind === 'integer' || kind === 'integers') {
    expect(unit).not.toBeNull()
    expect(takes).toContain(unit)
  }
  for (const [ending, expected] of unitsByEnding) if (ending.test(name)) expect(unit).toBe(expected)
  if (unit === 'milliseconds' || unit === 'bytes') expect(name).toMatch(/(Ms|Bytes|BytesMax)$/)
})

test.each(settingNames.map(name => [name]))('the default of %s is a value that it takes', name => {
  const { initial, parse, show, kind } = settingOf(name)
  const shown = show(initial)
  if (shown !== null) expect(show(parse(shown, '/srv'))).toBe(kind === 'path' ? '/srv/data' : shown)
})

test('a setting has one name in each place, and no two share one', () => {
  expect(variableOf('bodyBytesMax')).toBe('HEADGATE_BODY_BYTES_MAX')
  expect(flagOf('bodyBytesMax')).toBe('--body-bytes-max')
  expect(new Set(settingNames.map(variableOf)).size).toBe(settingNames.length)
  expect(new Set(settingNames.map(flagOf)).size).toBe(settingNames.length)
})

test('the table has every group', () => {
  expect(Object.values(groups).flatMap(({ settings }) => Object.keys(settings))).toEqual(settingNames)
})

/** `npx vitest run src/config -u` writes the page anew. */
test('docs/settings.md is what the table says', async () => {
  await expect(settingsPage()).toMatchFileSnapshot('../../docs/settings.md')
})

test.each([
  ['lissten', 'listen'],
  ['lsiten', 'listen'],
  ['body_bytes_max', 'bodyBytesMax'],
  ['BODYBYTESMAX', 'bodyBytesMax'],
  ['fluxCapacitor', undefined],
  ['', undefined],
])('%j is nearest to %s', (written, expected) => {
  expect(nearest(written, settingNames)).toBe(expected)
})
