import { expect, test } from 'vitest'
import { setupSchema } from '../admin/setup.ts'
import { Failure } from './io.ts'
import { readSetup } from './setup-file.ts'

const read = (yaml: string, env = {}) => readSetup(yaml, { shown: 'setup.yaml', schema: setupSchema, env }).setup

function sentencesOf(yaml: string): string[] {
  try {
    read(yaml)
  } catch (error) {
    if (error instanceof Failure && error.exitCode === 2) return error.message.split('\n')
    throw error
  }
  return []
}

const account = 'accounts:\n  - name: a1\n    baseUrl: https://api.example/v1\n'

test('a setup is what the file says, with decimals as they were written', () => {
  expect(read('groups:\n  - {name: a, multiplier: 1.10}\n  - {name: b, multiplier: 2}\n  - {name: c, multiplier: "0.5"}\n')).toEqual({
    groups: [
      { name: 'a', multiplier: '1.10' },
      { name: 'b', multiplier: 2 },
      { name: 'c', multiplier: '0.5' },
    ],
  })
})

test('the secret of an account comes from the environment', () => {
  const yaml = `${account}    apiKey: {env: UPSTREAM_KEY}\n`
  expect(read(yaml, { UPSTREAM_KEY: 'sk-1' })).toMatchObject({ accounts: [{ apiKey: 'sk-1' }] })
})

test('an anchor is what it stands for', () => {
  expect(read(`${account}    groups: &all [x]\n  - name: a2\n    baseUrl: https://api.example\n    groups: *all\n`)).toMatchObject({
    accounts: [{ groups: ['x'] }, { groups: ['x'] }],
  })
})

test.each([
  [`${account}    concurency: 4\n`, ['setup.yaml:4: accounts[0].concurency is not a setting; did you mean concurrency?']],
  [
    `${account}    capabilities: {statefull: true}\n`,
    ['setup.yaml:4: accounts[0].capabilities.statefull is not a setting; did you mean stateful?'],
  ],
  ['acounts: []\n', ['setup.yaml:1: acounts is not a setting; did you mean accounts?']],
  [
    '# people\nusers:\n  - email: dev@example.com\n    concurrency: many\n',
    ['setup.yaml:4: users[0].concurrency takes a number, not text.'],
  ],
  [
    `${account}    weight: 0\n    weights: 1\n`,
    ['setup.yaml:4: accounts[0].weight must be at least 1.', 'setup.yaml:5: accounts[0].weights is not a setting; did you mean weight?'],
  ],
  ['accounts:\n  - name: a1\n', ['setup.yaml:2: accounts[0].baseUrl is missing.']],
  ['groups:\n  - name: a\n    name: b\n', ['setup.yaml:3: The same name stands twice in one mapping; keep one of the two lines.']],
  ['groups:\n  - name: a\n  - name: a\n', ['setup.yaml:3: groups[1].name is the same as in groups[0].']],
  [
    `${account}    apiKey:\n      env: UPSTREAM_KEY\n`,
    ['setup.yaml:5: accounts[0].apiKey wants the variable UPSTREAM_KEY, which is not set; set it before you apply the file.'],
  ],
  ['- a\n', ['setup.yaml: A setup file has lists named groups, users, accounts and so on; this has none.']],
  ['', ['setup.yaml: A setup file has lists named groups, users, accounts and so on; this has none.']],
])('%j is refused with its line', (yaml, sentences) => {
  expect(sentencesOf(yaml)).toEqual(sentences)
})

test('a file that is not YAML is refused with its line', () => {
  expect(sentencesOf('groups:\n  - name: "a\n')[0]).toMatch(/^setup\.yaml:\d: This is not valid YAML: /)
})
