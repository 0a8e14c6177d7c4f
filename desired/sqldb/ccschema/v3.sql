-- The Cloud Controller's tables of apps and what they run, as they were from September 2016 to June 2017.
CREATE TABLE apps (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  space_guid varchar(255) NULL,
  name varchar(255) NULL,
  droplet_guid varchar(255) NULL,
  desired_state varchar(255) NOT NULL DEFAULT 'STOPPED'
);
CREATE UNIQUE INDEX apps_v3_guid_index ON apps (guid);
CREATE INDEX apps_v3_created_at_index ON apps (created_at);
CREATE INDEX apps_v3_updated_at_index ON apps (updated_at);
CREATE INDEX apps_desired_droplet_guid ON apps (droplet_guid);
CREATE TABLE processes (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  production {{bool}} NOT NULL DEFAULT {{false}},
  memory integer NOT NULL DEFAULT 256,
  instances integer NOT NULL DEFAULT 1,
  file_descriptors integer NOT NULL DEFAULT 256,
  disk_quota integer NOT NULL DEFAULT 256,
  state varchar(255) NOT NULL DEFAULT 'STOPPED',
  version varchar(255) NULL,
  command varchar(4096) NULL,
  health_check_timeout integer NULL,
  diego {{bool}} NOT NULL DEFAULT {{false}},
  app_guid varchar(255) NULL,
  type varchar(255) NOT NULL DEFAULT 'web'
);
CREATE UNIQUE INDEX processes_guid_index ON processes (guid);
CREATE INDEX processes_app_guid_index ON processes (app_guid);
CREATE INDEX processes_created_at_index ON processes (created_at);
CREATE INDEX processes_updated_at_index ON processes (updated_at);
CREATE INDEX processes_diego_index ON processes (diego);
CREATE TABLE packages (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  type varchar(255) NULL,
  package_hash varchar(255) NULL,
  state varchar(255) NOT NULL,
  error varchar(4096) NULL,
  app_guid varchar(255) NULL,
  docker_image varchar(4096) NULL
);
CREATE UNIQUE INDEX packages_guid_index ON packages (guid);
CREATE INDEX package_app_guid_index ON packages (app_guid);
CREATE INDEX packages_created_at_index ON packages (created_at);
CREATE INDEX packages_updated_at_index ON packages (updated_at);
CREATE TABLE droplets (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  state varchar(255) NOT NULL,
  package_guid varchar(255) NULL,
  droplet_hash varchar(255) NULL,
  app_guid varchar(255) NULL,
  docker_receipt_image varchar(4096) NULL
);
CREATE UNIQUE INDEX droplets_guid_index ON droplets (guid);
CREATE INDEX droplet_app_guid_index ON droplets (app_guid);
CREATE INDEX droplets_created_at_index ON droplets (created_at);
CREATE INDEX droplets_updated_at_index ON droplets (updated_at);
CREATE INDEX droplets_state_index ON droplets (state);
CREATE TABLE organizations (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  name varchar(255) NOT NULL,
  default_isolation_segment_guid varchar(255) NULL
);
CREATE UNIQUE INDEX organizations_guid_index ON organizations (guid);
CREATE TABLE spaces (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  name varchar(255) NOT NULL,
  organization_id integer NOT NULL,
  isolation_segment_guid varchar(255) NULL
);
CREATE UNIQUE INDEX spaces_guid_index ON spaces (guid);
CREATE TABLE stacks (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  name varchar(255) NOT NULL,
  description varchar(255) NULL
);
CREATE UNIQUE INDEX stacks_guid_index ON stacks (guid);
CREATE TABLE isolation_segments (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  name varchar(255) NOT NULL
);
CREATE UNIQUE INDEX isolation_segments_guid_index ON isolation_segments (guid);
CREATE TABLE buildpack_lifecycle_data (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  app_guid varchar(255) NULL,
  droplet_guid varchar(255) NULL,
  stack varchar(255) NULL
);
CREATE UNIQUE INDEX buildpack_lifecycle_data_guid_index ON buildpack_lifecycle_data (guid);
CREATE INDEX buildpack_lifecycle_data_app_guid ON buildpack_lifecycle_data (app_guid);
