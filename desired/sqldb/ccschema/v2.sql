-- The Cloud Controller's table of apps, as it was until September 2016.
CREATE TABLE apps (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  name varchar(255) NOT NULL,
  production {{bool}} NOT NULL DEFAULT {{false}},
  memory integer NOT NULL DEFAULT 256,
  instances integer NOT NULL DEFAULT 1,
  file_descriptors integer NOT NULL DEFAULT 256,
  disk_quota integer NOT NULL DEFAULT 256,
  state varchar(255) NOT NULL DEFAULT 'STOPPED',
  package_state varchar(255) NOT NULL DEFAULT 'PENDING',
  package_hash varchar(255) NULL,
  droplet_hash varchar(255) NULL,
  version varchar(255) NULL,
  space_id integer NOT NULL DEFAULT 1,
  stack_id integer NOT NULL DEFAULT 1,
  not_deleted {{bool}} NULL DEFAULT {{true}},
  deleted_at {{time}} NULL,
  command varchar(4096) NULL,
  package_pending_since {{time}} NULL,
  health_check_timeout integer NULL,
  staging_failed_reason varchar(255) NULL,
  diego {{bool}} NOT NULL DEFAULT {{false}},
  docker_image varchar(4096) NULL,
  app_guid varchar(255) NULL,
  type varchar(255) NOT NULL DEFAULT 'web'
);
CREATE UNIQUE INDEX apps_guid_index ON apps (guid);
CREATE INDEX apps_created_at_index ON apps (created_at);
CREATE INDEX apps_updated_at_index ON apps (updated_at);
CREATE INDEX apps_diego_index ON apps (diego);
CREATE TABLE organizations (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  name varchar(255) NOT NULL
);
CREATE UNIQUE INDEX organizations_guid_index ON organizations (guid);
CREATE TABLE spaces (
  id {{serial}},
  guid varchar(255) NOT NULL,
  created_at {{time}} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at {{time}} NULL,
  name varchar(255) NOT NULL,
  organization_id integer NOT NULL
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
