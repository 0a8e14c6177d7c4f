# Renders the templates of the job as BOSH does: ruby render.rb JOB PROPERTIES.json OUT
# It knows what the templates use: p with defaults, spec and link.
require 'erb'
require 'json'
require 'ostruct'
require 'yaml'
require 'fileutils'

class Context
  attr_reader :spec

  def initialize(properties, spec, links)
    @properties, @spec, @links = properties, spec, links
  end

  def p(name, *default)
    found = name.split('.').inject(@properties) { |at, part| at.is_a?(Hash) ? at[part] : nil }
    return found unless found.nil?
    return default.first unless default.empty?

    raise "the property #{name} is not given and has no default"
  end

  def link(name)
    @links.fetch(name)
  end

  def render(template)
    erb = ERB.new(File.read(template), trim_mode: '-')
    erb.filename = template
    erb.result(binding)
  end
end

job, given, out = ARGV
spec = YAML.safe_load(File.read(File.join(job, 'spec')))
deployment = JSON.parse(File.read(given))

# The director gives a template the properties of the spec alone: those of the manifest, or the defaults.
properties = {}
spec['properties'].each do |name, about|
  *above, last = name.split('.')
  value = name.split('.').inject(deployment['properties']) { |at, part| at.is_a?(Hash) ? at[part] : nil }
  above.inject(properties) { |at, part| at[part] ||= {} }[last] = value.nil? ? about['default'] : value
end
instances = deployment['instances'].map { |i| OpenStruct.new(i) }
links = { 'hm_peers' => OpenStruct.new(instances: instances) }
context = Context.new(properties, instances[deployment['self']], links)
spec['templates'].each do |template, target|
  file = File.join(out, target)
  FileUtils.mkdir_p(File.dirname(file))
  File.write(file, context.render(File.join(job, 'templates', template)))
end
