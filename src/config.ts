import { readSettingsFile } from './config/file.ts'
import { didYouMean } from './config/nearest.ts'
import {
  agreements,
  flagOf,
  isSettingName,
  type SettingName,
  type Settings,
  settingNames,
  settingOf,
  variableOf,
} from './config/settings.ts'

/** The settings, and where each comes from. */
export interface Config {
  readonly settings: Settings
  readonly sources: Sources
}

export type Sources = { readonly [Name in SettingName]: Source & { readonly value: Settings[Name] } }

export interface Source {
  readonly from: 'flag' | 'env' | 'file' | 'default'
  /** "--listen", "HEADGATE_LISTEN" or "headgate.yaml:3". */
  readonly where?: string
}

/** What settings are read from. */
export interface ConfigInput {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Without the dashes: "body-bytes-max" → "1000". Undefined when nothing followed the flag. */
  readonly flags: Readonly<Record<string, string | undefined>>
  /** The folder at which relative paths start. */
  readonly cwd: string
}

/** Everything that is wrong with the settings, a sentence each. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

/**
 * Reads all settings: flag before environment before file before default. Pure but for reading the file that they name.
 * Throws a `ConfigError` that names everything unknown, wrong or contradictory.
 */
export function readConfig(input: ConfigInput): Config {
  const problems: string[] = []
  const found = new Map<SettingName, Found>()
  const flags = fromFlags(input, problems)
  const variables = fromEnvironment(input, problems)
  const path = read('config', flags.get('config') ?? variables.get('config'), input, problems).value
  const lines = typeof path === 'string' ? fromFile(path, input, problems) : []
  for (const source of [lines, variables, flags]) for (const [name, one] of source) found.set(name, one)

  const sources = Object.fromEntries(settingNames.map(name => [name, read(name, found.get(name), input, problems)])) as Sources
  const settings = Object.fromEntries(settingNames.map(name => [name, sources[name].value])) as Settings
  for (const { name, times, within } of agreements) {
    if (Number(settings[name]) * times <= Number(settings[within])) continue
    const whole = times === 1 ? name : `${times} × ${name}`
    problems.push(
      `${placeOf(name, sources[name])} is ${settings[name]} and ${placeOf(within, sources[within])} is ${settings[within]}; ${whole} may not be more than ${within}.`,
    )
  }
  if (problems.length > 0) throw new ConfigError([...new Set(problems)])
  return { settings, sources }
}

/** Takes the flags of settings out of a command line, wherever they stand, up to a lone "--". */
export function takeFlags(argv: readonly string[]): { readonly flags: ConfigInput['flags']; readonly rest: readonly string[] } {
  const flags: Record<string, string | undefined> = {}
  const rest: string[] = []
  const names = new Set(settingNames.map(flagOf))
  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at]!
    if (argument === '--') return { flags, rest: [...rest, ...argv.slice(at)] }
    const [flag = '', ...value] = argument.split('=')
    if (!names.has(flag)) rest.push(argument)
    else if (value.length > 0) flags[flag.slice(2)] = value.join('=')
    else flags[flag.slice(2)] = argv[at + 1]?.startsWith('--') ? undefined : argv[++at]
  }
  return { flags, rest }
}

/** The variables that this program was started with. Nothing else reads them. */
export function environment(): Readonly<Record<string, string | undefined>> {
  return process.env
}

interface Found extends Source {
  readonly text: string
}

type Named = Map<SettingName, Found>

const prefix = 'HEADGATE_'
const namesByFlag = new Map(settingNames.map(name => [flagOf(name).slice(2), name]))
const namesByVariable = new Map(settingNames.map(name => [variableOf(name), name]))
const variableEnds = settingNames.map(name => variableOf(name).slice(prefix.length))

/** Said to the tests, not to the program. */
const notSettings = new Set(['HEADGATE_TEST_FULL', 'HEADGATE_TEST_SEED', 'HEADGATE_TEST_DATABASE'])

/** Kubernetes tells every container where the services are, in variables that begin with the service's name. */
const kubernetesName = /^HEADGATE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/
const kubernetesValue = /^(tcp|udp|sctp):\/\//

function fromFlags({ flags }: ConfigInput, problems: string[]): Named {
  const found: Named = new Map()
  for (const [flag, text] of Object.entries(flags)) {
    const name = namesByFlag.get(flag)
    if (name === undefined) problems.push(`--${flag} is not a setting${didYouMean(flag, namesByFlag.keys(), '--')}`)
    else if (settingOf(name).kind === 'secret')
      problems.push(`--${flag} cannot be a flag, because others on this machine can read command lines; use ${variableOf(name)}.`)
    else if (text === undefined) problems.push(`--${flag} needs a value; it takes ${settingOf(name).takes}.`)
    else found.set(name, { text, from: 'flag', where: `--${flag}` })
  }
  return found
}

/** An empty variable counts as none: that is what container tools pass on for what nobody has set. */
function fromEnvironment({ env }: ConfigInput, problems: string[]): Named {
  const found: Named = new Map()
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(prefix) || text === undefined || notSettings.has(variable)) continue
    if (kubernetesName.test(variable) || (variable.endsWith('_PORT') && kubernetesValue.test(text))) continue
    const name = namesByVariable.get(variable)
    if (name === undefined) problems.push(`${variable} is not a setting${didYouMean(variable.slice(prefix.length), variableEnds, prefix)}`)
    else if (text !== '') found.set(name, { text, from: 'env', where: variable })
  }
  return found
}

function fromFile(path: string, { cwd }: ConfigInput, problems: string[]): Named {
  const found: Named = new Map()
  const file = readSettingsFile(path, cwd)
  problems.push(...file.problems)
  for (const { name, text, isList, where } of file.lines) {
    if (!isSettingName(name)) problems.push(`${where}: ${name} is not a setting${didYouMean(name, settingNames)}`)
    else if (name === 'config') problems.push(`${where}: config names this file itself; remove the line.`)
    else if (text === undefined) problems.push(`${where}: ${name} has no value that can be read; it takes ${settingOf(name).takes}.`)
    else if (isList && !listKinds.has(settingOf(name).kind))
      problems.push(`${where}: ${name} is a list; it takes ${settingOf(name).takes}.`)
    else found.set(name, { text, from: 'file', where })
  }
  return found
}

const listKinds: ReadonlySet<string> = new Set(['integers', 'networks'])

/** One setting, or its default when nothing was found or what was found is wrong. */
function read(name: SettingName, found: Found | undefined, input: ConfigInput, problems: string[]): Source & { value: unknown } {
  const setting = settingOf(name)
  if (found !== undefined) {
    const { text, ...source } = found
    const value = setting.parse(text, input.cwd)
    if (value !== undefined) return { ...source, value }
    const said = setting.kind === 'secret' ? 'not usable' : JSON.stringify(text.slice(0, shownMax))
    problems.push(`${placeOf(name, source)} is ${said}; it takes ${setting.takes}.`)
  }
  const initial = setting.initial
  const value = setting.kind === 'path' && typeof initial === 'string' ? setting.parse(initial, input.cwd) : initial
  return { from: 'default', value }
}

const shownMax = 80

/** "HEADGATE_LISTEN", "--listen", "headgate.yaml:3: listen", or the bare name of what is a default. */
function placeOf(name: SettingName, { from, where }: Source): string {
  if (where === undefined) return name
  return from === 'file' ? `${where}: ${name}` : where
}
