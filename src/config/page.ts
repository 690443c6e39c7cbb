import { flagOf, groups, type SettingGroup, type SettingName, settingOf, variableOf } from './settings.ts'

/** docs/settings.md: every setting with its names, what it takes and its default. */
export function settingsPage(): string {
  const sections = Object.values<SettingGroup>(groups).map(section)
  return `${opening}\n${sections.join('\n')}`
}

const opening = `# Settings

Every limit and every wait of Headgate is a setting. Each can be given in three places; the first that has it wins:

1. a flag, such as \`--line-timeout-ms 10000\`;
2. an environment variable, such as \`HEADGATE_LINE_TIMEOUT_MS=10000\` (an empty one counts as none);
3. a line in the YAML file that \`--config\` or \`HEADGATE_CONFIG\` names, such as \`lineTimeoutMs: 10000\`.

Numbers are whole numbers in the unit that the name ends in. A name that Headgate does not know is an error in all three places, and so is
a value out of its range: the message names the place and says what would be right. \`headgate config show\` lists every setting, its value and
where that comes from. Secrets have no flag, because others on a machine can read its command lines.
`

function section({ about, settings }: SettingGroup): string {
  const lines = (Object.keys(settings) as SettingName[]).map(name => entry(name))
  return `## ${about}\n\n${lines.join('\n')}`
}

function entry(name: SettingName): string {
  const setting = settingOf(name)
  const initial = setting.show(setting.initial)
  const flag = setting.kind === 'secret' ? '' : ` · \`${flagOf(name)}\``
  const takes = `Takes ${setting.takes}.`
  const standard = initial === null ? 'Default: none.' : `Default: \`${initial}\`.`
  return `### ${name}\n\n\`${variableOf(name)}\`${flag}\n\n${setting.about}\n${takes} ${standard}\n`
}
