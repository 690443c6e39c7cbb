import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { settingNames } from './config/settings.ts'
import { ConfigError, type ConfigInput, readConfig, takeFlags } from './config.ts'

let cwd: string

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'headgate-config-'))
})

afterEach(() => rmSync(cwd, { recursive: true }))

const file = (yaml: string) => writeFileSync(join(cwd, 'headgate.yaml'), yaml)
const withFile = { HEADGATE_CONFIG: 'headgate.yaml' }
const read = (input: Partial<ConfigInput>) => readConfig({ env: {}, flags: {}, cwd, ...input })

function problemsOf(input: Partial<ConfigInput>): readonly string[] {
  try {
    read(input)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

test('without anything every setting has its default', () => {
  const { settings, sources } = read({})
  expect(settings).toMatchObject({
    listen: { host: '127.0.0.1', port: 8080 },
    bodyBytesMax: 104_857_600,
    authRestsMs: [60_000, 300_000, 1_800_000],
  })
  expect(settings.data).toBe(join(cwd, 'data'))
  expect(Object.keys(settings)).toEqual(settingNames)
  expect(settingNames.filter(name => sources[name].from !== 'default')).toEqual([])
})

test('a flag wins over the environment, that over the file, and that over the default', () => {
  file('lineExtra: 1\ndrainMs: 2\nstopNoticeMs: 3\n')
  const { settings, sources } = read({
    env: { ...withFile, HEADGATE_LINE_EXTRA: '10', HEADGATE_DRAIN_MS: '20' },
    flags: { 'line-extra': '100' },
  })
  expect(settings).toMatchObject({ lineExtra: 100, drainMs: 20, stopNoticeMs: 3, stopStreamsMs: 60_000 })
  expect(sources.lineExtra).toEqual({ value: 100, from: 'flag', where: '--line-extra' })
  expect(sources.drainMs).toEqual({ value: 20, from: 'env', where: 'HEADGATE_DRAIN_MS' })
  expect(sources.stopNoticeMs).toEqual({ value: 3, from: 'file', where: 'headgate.yaml:3' })
  expect(sources.stopStreamsMs).toEqual({ value: 60_000, from: 'default' })
})

test('a flag names another file than the environment', () => {
  file('lineExtra: 1\n')
  writeFileSync(join(cwd, 'other.yaml'), 'lineExtra: 2\n')
  expect(read({ env: withFile, flags: { config: 'other.yaml' } }).sources.lineExtra).toEqual({
    value: 2,
    from: 'file',
    where: 'other.yaml:1',
  })
})

test('lists are written with commas, or as lists in the file', () => {
  file('trustedProxies:\n  - 10.0.0.0/8\n  - "::1"\nauthRestsMs: [1, 2]\n')
  expect(read({ env: withFile }).settings).toMatchObject({ trustedProxies: ['10.0.0.0/8', '::1'], authRestsMs: [1, 2] })
  expect(read({ env: { HEADGATE_TRUSTED_PROXIES: '127.0.0.1, fd00::/8' } }).settings.trustedProxies).toEqual(['127.0.0.1', 'fd00::/8'])
})

test('a text is trimmed, and an empty variable counts as none', () => {
  expect(read({ env: { HEADGATE_DEFAULT_INSTRUCTIONS: '  Be kind. ' } }).settings.defaultInstructions).toBe('Be kind.')
  expect(read({ env: { HEADGATE_DEFAULT_INSTRUCTIONS: '  ' } }).settings.defaultInstructions).toBe('')
  expect(read({ env: { HEADGATE_LISTEN: '' } }).sources.listen.from).toBe('default')
})

const unknown: readonly (readonly [string, Partial<ConfigInput>, string])[] = [
  ['a flag', { flags: { 'body-byte-max': '5' } }, '--body-byte-max is not a setting; did you mean --body-bytes-max?'],
  ['a variable', { env: { HEADGATE_LISEN: ':1' } }, 'HEADGATE_LISEN is not a setting; did you mean HEADGATE_LISTEN?'],
  ['a far variable', { env: { HEADGATE_FLUX_CAPACITOR: '1' } }, 'HEADGATE_FLUX_CAPACITOR is not a setting.'],
  ['a port', { env: { HEADGATE_PORT: '9000' } }, 'HEADGATE_PORT is not a setting.'],
  ['a name from the prototype', { env: { HEADGATE_CONSTRUCTOR: '1' } }, 'HEADGATE_CONSTRUCTOR is not a setting.'],
]

test.each(unknown)('an unknown name in %s is an error that says what was meant', (_, input, sentence) => {
  expect(problemsOf(input)).toEqual([sentence])
})

test.each([
  ['# limits\nlineExtra: 1\nlinetimeoutms: 5\n', 'headgate.yaml:3: linetimeoutms is not a setting; did you mean lineTimeoutMs?'],
  ['__proto__: 1\n', 'headgate.yaml:1: __proto__ is not a setting.'],
  ['lineExtra: 1\nlineExtra: 2\n', 'headgate.yaml:2: The same name stands twice in one mapping; keep one of the two lines.'],
  ['config: a.yaml\n', 'headgate.yaml:1: config names this file itself; remove the line.'],
  ['- a\n', 'headgate.yaml:1: A settings file has lines of "name: value", such as "listen: 127.0.0.1:8080".'],
  ['lineExtra:\n', 'headgate.yaml:1: lineExtra has no value that can be read; it takes a whole number of calls from 0 to 1000000000.'],
  ['\nlineExtra: [1]\n', 'headgate.yaml:2: lineExtra is a list; it takes a whole number of calls from 0 to 1000000000.'],
  [
    'lineExtra: {a: 1}\n',
    'headgate.yaml:1: lineExtra has no value that can be read; it takes a whole number of calls from 0 to 1000000000.',
  ],
  ['lineExtra: 1e3\n', 'headgate.yaml:1: lineExtra is "1e3"; it takes a whole number of calls from 0 to 1000000000.'],
])('the file %j is refused with its line', (yaml, sentence) => {
  file(yaml)
  expect(problemsOf({ env: withFile })).toEqual([sentence])
})

test('a file that is not YAML is refused with its line', () => {
  file('lineExtra: 1\nlisten: "127\n')
  expect(problemsOf({ env: withFile })[0]).toMatch(/^headgate\.yaml:\d: This is not valid YAML: /)
})

test('a file that is named must be there', () => {
  expect(problemsOf({ flags: { config: 'none.yaml' } })).toEqual(['The settings file none.yaml cannot be read: there is no such file.'])
})

test.each([
  ['HEADGATE_LINE_TIMEOUT_MS', '30s', 'a whole number of milliseconds from 1 to 86400000'],
  ['HEADGATE_LINE_TIMEOUT_MS', '-1', 'a whole number of milliseconds from 1 to 86400000'],
  ['HEADGATE_LINE_TIMEOUT_MS', '0', 'a whole number of milliseconds from 1 to 86400000'],
  ['HEADGATE_BODY_BYTES_MAX', '1.5', 'a whole number of bytes from 1 to 8589934592'],
  ['HEADGATE_CIRCUIT_SUCCESS_MIN', '101', 'a whole number of percent from 0 to 100'],
  ['HEADGATE_AUTH_RESTS_MS', '1,,2', 'whole numbers of milliseconds from 1 to 86400000, with commas between them'],
  ['HEADGATE_LISTEN', '127.0.0.1', 'a host and a port, such as 127.0.0.1:8080 or [::1]:8080'],
  ['HEADGATE_LISTEN', '127.0.0.1:65536', 'a host and a port, such as 127.0.0.1:8080 or [::1]:8080'],
  ['HEADGATE_LISTEN', '[zz]:80', 'a host and a port, such as 127.0.0.1:8080 or [::1]:8080'],
  ['HEADGATE_URL', 'ftp://x', 'an http or https URL, such as http://127.0.0.1:8080'],
  ['HEADGATE_URL', 'http://a:b@x', 'an http or https URL, such as http://127.0.0.1:8080'],
  ['HEADGATE_TRUSTED_PROXIES', '10.0.0.0/33', 'addresses or CIDR ranges such as 10.0.0.0/8, with commas between them'],
  ['HEADGATE_TRUSTED_PROXIES', 'proxy.example', 'addresses or CIDR ranges such as 10.0.0.0/8, with commas between them'],
  ['HEADGATE_LOG_LEVEL', 'loud', 'one of fatal, error, warn, info, debug, trace, silent'],
])('%s=%s is refused with what would be right', (variable, value, takes) => {
  expect(problemsOf({ env: { [variable]: value } })).toEqual([`${variable} is "${value}"; it takes ${takes}.`])
})

test.each([
  ['[::1]:0', { host: '::1', port: 0 }],
  ['gateway.example:443', { host: 'gateway.example', port: 443 }],
])('it can listen at %s', (text, address) => {
  expect(read({ flags: { listen: text } }).settings.listen).toEqual(address)
})

test('a URL loses the slash at its end', () => {
  expect(read({ env: { HEADGATE_URL: 'https://gateway.example/sub/' } }).settings.url).toBe('https://gateway.example/sub')
})

test('everything that is wrong is told at once', () => {
  file('lineExtr: 1\ndrainMs: x\n')
  const input = { env: { ...withFile, HEADGATE_DRAINS_MAX: 'y', HEADGATE_NO: '1' }, flags: { listen: 'z', url: undefined } }
  expect(problemsOf(input).map(problem => problem.split(/ is | needs /)[0])).toEqual([
    '--url',
    'HEADGATE_NO',
    'headgate.yaml:1: lineExtr',
    '--listen',
    'headgate.yaml:2: drainMs',
    'HEADGATE_DRAINS_MAX',
  ])
})

test('settings that contradict each other are named with their places', () => {
  expect(problemsOf({ env: { HEADGATE_LEASE_MS: '8000' } })).toEqual([
    'leaseRenewMs is 5000 and HEADGATE_LEASE_MS is 8000; 2 × leaseRenewMs may not be more than leaseMs.',
  ])
  expect(problemsOf({ flags: { 'bodies-bytes-max': '1000' } })).toEqual([
    'bodyBytesMax is 104857600 and --bodies-bytes-max is 1000; bodyBytesMax may not be more than bodiesBytesMax.',
  ])
})

test('a secret is no flag, and a wrong one is not repeated', () => {
  expect(problemsOf({ flags: { 'secret-key': 'x' } })).toEqual([
    '--secret-key cannot be a flag, because others on this machine can read command lines; use HEADGATE_SECRET_KEY.',
  ])
  const problems = problemsOf({ env: { HEADGATE_ADMIN_TOKEN: 'hunter2', HEADGATE_SECRET_KEY: 'correct horse' } }).join()
  expect(problems).toContain('HEADGATE_ADMIN_TOKEN is not usable; it takes')
  expect(problems).not.toMatch(/hunter2|correct horse/)
})

test('what Kubernetes tells about a service named headgate is no setting', () => {
  const env = {
    HEADGATE_SERVICE_HOST: '10.0.0.1',
    HEADGATE_SERVICE_PORT: '80',
    HEADGATE_SERVICE_PORT_HTTP: '80',
    HEADGATE_PORT: 'tcp://10.0.0.1:80',
    HEADGATE_PORT_80_TCP: 'tcp://10.0.0.1:80',
    HEADGATE_PORT_80_TCP_ADDR: '10.0.0.1',
    HEADGATE_ADMIN_PORT: 'tcp://10.0.0.1:80',
  }
  expect(problemsOf({ env })).toEqual([])
})

test('flags are taken from anywhere on a command line, up to a lone --', () => {
  expect(takeFlags(['serve', '--listen', 'a:1', '--json', '--data=b=c', '--url', '--json', '--', '--listen', 'x'])).toEqual({
    flags: { listen: 'a:1', data: 'b=c', url: undefined },
    rest: ['serve', '--json', '--json', '--', '--listen', 'x'],
  })
  expect(takeFlags(['serve', '--listen'])).toEqual({ flags: { listen: undefined }, rest: ['serve'] })
})
