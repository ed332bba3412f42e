BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE approval (
	id VARCHAR(64) NOT NULL, 
	call VARCHAR(64) NOT NULL, 
	run_id VARCHAR(64) NOT NULL, 
	revision INTEGER NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	terms JSON NOT NULL, 
	requested_at DATETIME NOT NULL, 
	expires_at DATETIME NOT NULL, 
	start_by DATETIME, 
	verdict JSON, 
	channel VARCHAR(200) NOT NULL, 
	ts VARCHAR(64) NOT NULL, 
	trouble TEXT NOT NULL, 
	CONSTRAINT pk_approval PRIMARY KEY (id), 
	CONSTRAINT fk_approval_call FOREIGN KEY(call) REFERENCES call (id) ON DELETE CASCADE, 
	CONSTRAINT fk_approval_run_id FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE, 
	CONSTRAINT ck_approval_status CHECK (status IN ('pending', 'approved', 'rejected', 'expired', 'withdrawn'))
);
INSERT INTO "approval" VALUES('apr_a9e7e481d40df54ab3e8d0f6','call_4ddba6987218703255c36040','run_678d5aa528b65e651ea25736',1,'expired','e4281876d88e3b0581613cf0d7c2bde74fa51ca613457200e7936bd2eac07294','{"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}','2026-11-21 12:00:00.000000','2026-11-22 12:00:00.000000',NULL,NULL,'C0OPS','17.0001','');
INSERT INTO "approval" VALUES('apr_8f5b6e3089dca769eab4a112','call_ab3f710ab48fb1553437ff09','run_86d459e208636db7d5b912c7',1,'approved','83ff7f4003472d395f7f3d398aae6e4277fc00925cccd104d52f7f2159d45d7e','{"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}','2026-11-22 12:01:01.500000','2026-11-23 12:01:01.500000','2026-11-22 13:01:01.500000','{"approve": true, "by": {"id": "U0ANNA", "name": "anna", "door": "slack"}, "at": "2026-11-22T12:01:01.500000Z", "reason": ""}','C0OPS','17.0003','');
INSERT INTO "approval" VALUES('apr_ad36c932bf8638397b7e1106','call_3b63c77d7d6e993bfe397364','run_2c5e08d56258650277430323',1,'rejected','798be5f0a7f35505bfc22ee9459b7636830c15078a745ce6969dccff0972eb34','{"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}','2026-11-22 12:01:01.500000','2026-11-23 12:01:01.500000',NULL,'{"approve": false, "by": {"id": "U0ANNA", "name": "anna", "door": "slack"}, "at": "2026-11-22T12:01:01.500000Z", "reason": "not this week"}','C0OPS','17.0002','');
INSERT INTO "approval" VALUES('apr_a47e9ffa6e87016999ded285','call_f50446b322064258987801a5','run_6fdec5f8f62b4035957c56ed',1,'pending','d7f9bdebc6d30e02b03242bab8ef0952410c613fef26103468de661bac7be2b8','{"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}','2026-11-22 12:01:01.500000','2026-11-23 12:01:01.500000',NULL,NULL,'C0OPS','17.0004','');
INSERT INTO "approval" VALUES('apr_0e3c4c4b7c1809aa1a12c85e','call_b0ef006a5710df87bd64c5ee','run_756e52cb73f5e7aa35558d31',1,'withdrawn','578ac3f0f66c500df433d2775528b69c439ee159c3b0d198d3d598425f44b9ed','{"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}','2026-11-22 12:01:01.500000','2026-11-23 12:01:01.500000',NULL,NULL,'C0OPS','17.0005','');
CREATE TABLE call (
	id VARCHAR(64) NOT NULL, 
	run_id VARCHAR(64) NOT NULL, 
	turn INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	call_id TEXT NOT NULL, 
	tool TEXT NOT NULL, 
	arguments JSON NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	idempotent BOOLEAN NOT NULL, 
	approval VARCHAR(64), 
	outcome VARCHAR(32), 
	result JSON, 
	claim VARCHAR(64), 
	started_at DATETIME, 
	settled_at DATETIME, 
	CONSTRAINT pk_call PRIMARY KEY (id), 
	CONSTRAINT fk_call_run_id FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE, 
	CONSTRAINT uq_call_run_id_turn_call_id UNIQUE (run_id, turn, call_id), 
	CONSTRAINT ck_call_status CHECK (status IN ('awaiting_approval', 'ready', 'executing', 'awaiting_job', 'in_doubt', 'settled')), 
	CONSTRAINT ck_call_outcome CHECK (outcome IN ('succeeded', 'failed', 'rejected', 'expired', 'denied', 'withdrawn'))
);
INSERT INTO "call" VALUES('call_4ddba6987218703255c36040','run_678d5aa528b65e651ea25736',1,0,'fc0','refund','{"order": "A-1042", "amount": 12.5, "note": "f\u00fcr Anna \u2713"}','settled',0,'apr_a9e7e481d40df54ab3e8d0f6','expired','"Nobody decided about this call in time. It did not run."',NULL,NULL,'2026-11-22 12:00:00.000000');
INSERT INTO "call" VALUES('call_eca12fd510e9547c638d5fd6','run_86d459e208636db7d5b912c7',1,0,'fc0','look_up','{"n": 1}','settled',1,NULL,'succeeded','{"done": "look_up"}','f623d904d5d6543968fdc6d3','2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000');
INSERT INTO "call" VALUES('call_ab3f710ab48fb1553437ff09','run_86d459e208636db7d5b912c7',1,1,'fc1','refund','{"n": 2}','settled',0,'apr_8f5b6e3089dca769eab4a112','succeeded','{"done": "refund"}','1c7600fa1556b846e9d71d46','2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000');
INSERT INTO "call" VALUES('call_3b63c77d7d6e993bfe397364','run_2c5e08d56258650277430323',1,0,'fc0','refund','{"order": "A-1042", "amount": 12.5, "note": "f\u00fcr Anna \u2713"}','settled',0,'apr_ad36c932bf8638397b7e1106','rejected','"A person rejected this call. It did not run. In their words: \"not this week\""',NULL,NULL,'2026-11-22 12:01:01.500000');
INSERT INTO "call" VALUES('call_963bb2f74e269548bca19357','run_7510e7f315e5cae5e2f53143',1,0,'fc0','demolish','{"n": 1}','settled',0,NULL,'denied','"not allowed"',NULL,NULL,'2026-11-22 12:01:01.500000');
INSERT INTO "call" VALUES('call_66d3476c7c724eb1bf3bbb01','run_7510e7f315e5cae5e2f53143',1,1,'fc1','no_such_tool','{}','settled',0,NULL,'failed','"there is no tool no_such_tool"',NULL,NULL,'2026-11-22 12:01:01.500000');
INSERT INTO "call" VALUES('call_51cd04c8b79f1df88ee552d5','run_05e87b541925c508dbe580d5',1,0,'fc0','courier','{"n": 1}','in_doubt',0,NULL,NULL,NULL,'f623d904d5d6543968fdc6d3','2026-11-22 12:01:01.500000',NULL);
INSERT INTO "call" VALUES('call_f50446b322064258987801a5','run_6fdec5f8f62b4035957c56ed',1,0,'fc0','refund','{"n": 1}','awaiting_approval',0,'apr_a47e9ffa6e87016999ded285',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "call" VALUES('call_f46713f0da10b0149c4fe76f','run_6fdec5f8f62b4035957c56ed',1,1,'fc1','look_up','{"n": 2}','settled',1,NULL,'succeeded','{"done": "look_up"}','f623d904d5d6543968fdc6d3','2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000');
INSERT INTO "call" VALUES('call_b0ef006a5710df87bd64c5ee','run_756e52cb73f5e7aa35558d31',1,0,'fc0','refund','{"order": "A-1042", "amount": 12.5, "note": "f\u00fcr Anna \u2713"}','settled',0,'apr_0e3c4c4b7c1809aa1a12c85e','withdrawn','"The run ended before this call was made."',NULL,NULL,'2026-11-22 12:01:01.500000');
INSERT INTO "call" VALUES('call_e55941048c91c21a7f7ced05','run_6c87795d195e560a7d770b30',1,0,'fc0','busy','{"n": 1}','ready',0,NULL,NULL,NULL,NULL,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "call" VALUES('call_f2e1bc7bc86619d44892a680','run_d607b728ae86de8692169ae2',1,0,'fc0','look_up','{"n": 1}','settled',1,NULL,'succeeded','{"done": "look_up"}','a02f6f5b7727d4ba07092543','2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000');
INSERT INTO "call" VALUES('call_05617873933bb0a17c4f2828','run_20628c954451e9d276e0f455',1,0,'fc0','film','{"n": 1}','awaiting_job',1,NULL,NULL,NULL,'a76c59e3fc73a91447988f2f','2026-11-22 12:01:01.500000',NULL);
INSERT INTO "call" VALUES('call_3a4838be28c11396c3518fcf','run_7fcd72fa4b43fa6743be8553',1,0,'fc0','slow','{"n": 1}','executing',0,NULL,NULL,NULL,'b27b4b88de3a55d11b83e1b8','2026-11-22 12:01:01.500000',NULL);
CREATE TABLE delivery (
	id VARCHAR(256) NOT NULL, 
	kind VARCHAR(200) NOT NULL, 
	subject VARCHAR(512) NOT NULL, 
	received_at DATETIME NOT NULL, 
	timestamp BIGINT NOT NULL, 
	body BLOB NOT NULL, 
	body_hash VARCHAR(64) NOT NULL, 
	duplicates INTEGER NOT NULL, 
	state VARCHAR(32) NOT NULL, 
	run_id VARCHAR(64), 
	note TEXT NOT NULL, 
	CONSTRAINT pk_delivery PRIMARY KEY (id), 
	CONSTRAINT ck_delivery_state CHECK (state IN ('new', 'done', 'parked'))
);
INSERT INTO "delivery" VALUES('interaction.requires_action:i_a25736_1_1_0','interaction.requires_action','i_a25736_1_1_0','2026-11-21 12:00:00.000000',1795262400,X'7B2274797065223A2022696E746572616374696F6E2E72657175697265735F616374696F6E222C202264617461223A207B226964223A2022695F6132353733365F315F315F30227D7D','d7cee529900214b016ddeaaefc3eb532baf25283605ad4ec5078904cf46bf12d',0,'done','run_678d5aa528b65e651ea25736','');
INSERT INTO "delivery" VALUES('interaction.completed:i_a25736_2_1_1','interaction.completed','i_a25736_2_1_1','2026-11-22 12:00:00.000000',1795348800,X'7B2274797065223A2022696E746572616374696F6E2E636F6D706C65746564222C202264617461223A207B226964223A2022695F6132353733365F325F315F31227D7D','0280a64709863a0b8730eb38244743d9b614e46782620391836788f961d21438',0,'done','run_678d5aa528b65e651ea25736','');
INSERT INTO "delivery" VALUES('wh_parked','interaction.completed','i_stranger','2026-11-22 12:00:30.000000',1795348830,X'7B2274797065223A2022696E746572616374696F6E2E636F6D706C65746564222C202264617461223A207B226964223A2022695F737472616E676572227D7D','02c8a94bbb9cbb6ff36c0254d4294587cc7ba972c7cc5ca685a5370786ab3a9b',0,'parked',NULL,'');
INSERT INTO "delivery" VALUES('interaction.requires_action:i_b912c7_1_1_2','interaction.requires_action','i_b912c7_1_1_2','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E72657175697265735F616374696F6E222C202264617461223A207B226964223A2022695F6239313263375F315F315F32227D7D','b7760d1e2d289d78c19c394d027dcb9c83636cac60f99fd84fd8efa517c104f2',0,'done','run_86d459e208636db7d5b912c7','');
INSERT INTO "delivery" VALUES('interaction.failed:i_cdce85_1_1_3','interaction.failed','i_cdce85_1_1_3','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E6661696C6564222C202264617461223A207B226964223A2022695F6364636538355F315F315F33227D7D','f31ae7a867257e69a718dfc706101ced4b75ad71e46f7551f7cdf27cec47b02d',0,'done','run_f8fe25350e54fa34e5cdce85','');
INSERT INTO "delivery" VALUES('interaction.requires_action:i_558d31_1_1_4','interaction.requires_action','i_558d31_1_1_4','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E72657175697265735F616374696F6E222C202264617461223A207B226964223A2022695F3535386433315F315F315F34227D7D','191990c8c8dc4afc5346911627c934ce8dc9a280d2ec4d26ba3ac795bbd43575',0,'done','run_756e52cb73f5e7aa35558d31','');
INSERT INTO "delivery" VALUES('interaction.requires_action:i_430323_1_1_5','interaction.requires_action','i_430323_1_1_5','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E72657175697265735F616374696F6E222C202264617461223A207B226964223A2022695F3433303332335F315F315F35227D7D','f01f386282704c3cee198b08bc40593dbf418d00de3b49a3ec625cb52ffe1b6c',0,'done','run_2c5e08d56258650277430323','');
INSERT INTO "delivery" VALUES('interaction.requires_action:i_f53143_1_1_6','interaction.requires_action','i_f53143_1_1_6','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E72657175697265735F616374696F6E222C202264617461223A207B226964223A2022695F6635333134335F315F315F36227D7D','87ce2597c1257777399d28a378e23896ece3e94d56612b390d168ba338850c90',0,'done','run_7510e7f315e5cae5e2f53143','');
INSERT INTO "delivery" VALUES('interaction.requires_action:i_e580d5_1_1_7','interaction.requires_action','i_e580d5_1_1_7','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E72657175697265735F616374696F6E222C202264617461223A207B226964223A2022695F6535383064355F315F315F37227D7D','216755a0bf7340aa72fdaefdf62a0a7411be621b72050fc7b34314077e55d54e',0,'done','run_05e87b541925c508dbe580d5','');
INSERT INTO "delivery" VALUES('interaction.requires_action:i_7c56ed_1_1_8','interaction.requires_action','i_7c56ed_1_1_8','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E72657175697265735F616374696F6E222C202264617461223A207B226964223A2022695F3763353665645F315F315F38227D7D','4b8f041db6bc843896064fd6382b016937a05f0652355f580dc70e0e35612ef5',0,'done','run_6fdec5f8f62b4035957c56ed','');
INSERT INTO "delivery" VALUES('interaction.completed:i_f53143_2_1_9','interaction.completed','i_f53143_2_1_9','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E636F6D706C65746564222C202264617461223A207B226964223A2022695F6635333134335F325F315F39227D7D','7449975e7f7c649a94c85375b85e137c729c4d31a9fd8fff66ace7a011ac1e9f',0,'done','run_7510e7f315e5cae5e2f53143','');
INSERT INTO "delivery" VALUES('interaction.completed:i_430323_2_1_10','interaction.completed','i_430323_2_1_10','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E636F6D706C65746564222C202264617461223A207B226964223A2022695F3433303332335F325F315F3130227D7D','9e557094a1c2621760e48016fe76bbce4978df5cd8ac4e6512126e09707759d6',0,'done','run_2c5e08d56258650277430323','');
INSERT INTO "delivery" VALUES('interaction.completed:i_b912c7_2_1_11','interaction.completed','i_b912c7_2_1_11','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E636F6D706C65746564222C202264617461223A207B226964223A2022695F6239313263375F325F315F3131227D7D','80879d5a446e27e4fe9e5aff37bfb5575f3bf426b9e0b5307d3f39582fe194b7',0,'done','run_86d459e208636db7d5b912c7','');
INSERT INTO "delivery" VALUES('interaction.requires_action:i_770b30_1_1_12','interaction.requires_action','i_770b30_1_1_12','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E72657175697265735F616374696F6E222C202264617461223A207B226964223A2022695F3737306233305F315F315F3132227D7D','6e3e8474299e37610a64524d7d34c296b401b5f2fdbf43118d292f53e14be7f9',0,'done','run_6c87795d195e560a7d770b30','');
INSERT INTO "delivery" VALUES('interaction.requires_action:i_169ae2_1_1_14','interaction.requires_action','i_169ae2_1_1_14','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E72657175697265735F616374696F6E222C202264617461223A207B226964223A2022695F3136396165325F315F315F3134227D7D','9775cc006bd3645ab1c7f4a68a361ed20c93d9a7324604b22008e7f3d52897f8',0,'done','run_d607b728ae86de8692169ae2','');
INSERT INTO "delivery" VALUES('interaction.requires_action:i_e0f455_1_1_16','interaction.requires_action','i_e0f455_1_1_16','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E72657175697265735F616374696F6E222C202264617461223A207B226964223A2022695F6530663435355F315F315F3136227D7D','7977aaad57a77f787580640bab10bf1687da6cdda0dc2d619b93c2ab6c698b1f',0,'done','run_20628c954451e9d276e0f455','');
INSERT INTO "delivery" VALUES('interaction.requires_action:i_be8553_1_1_17','interaction.requires_action','i_be8553_1_1_17','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E72657175697265735F616374696F6E222C202264617461223A207B226964223A2022695F6265383535335F315F315F3137227D7D','880b4d41acef1c5dcd13ca611064a8ad00ab294d022d1aca913d3d804d700b06',0,'done','run_7fcd72fa4b43fa6743be8553','');
INSERT INTO "delivery" VALUES('wh_new','interaction.completed','i_nobody','2026-11-22 12:01:01.500000',1795348861,X'7B2274797065223A2022696E746572616374696F6E2E636F6D706C65746564222C202264617461223A207B226964223A2022695F6E6F626F6479227D7D','49ec008d559fbdc500b5e6ce97f692180be829a14b73bbdc4bc1104e00335728',0,'new',NULL,'');
CREATE TABLE effect (
	id INTEGER NOT NULL, 
	run_id VARCHAR(64) NOT NULL, 
	"key" VARCHAR(600) NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	subject VARCHAR(512) NOT NULL, 
	due_at DATETIME NOT NULL, 
	state VARCHAR(32) NOT NULL, 
	wanted INTEGER NOT NULL, 
	attempts INTEGER NOT NULL, 
	claim VARCHAR(64), 
	lease_until DATETIME, 
	error TEXT NOT NULL, 
	CONSTRAINT pk_effect PRIMARY KEY (id), 
	CONSTRAINT uq_effect_run_id_key UNIQUE (run_id, "key"), 
	CONSTRAINT ck_effect_state CHECK (state IN ('pending', 'claimed', 'done', 'dropped', 'dead'))
);
INSERT INTO "effect" VALUES(1,'run_678d5aa528b65e651ea25736','create_interaction:1.1','create_interaction','1.1','2026-11-21 12:00:00.000000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(2,'run_678d5aa528b65e651ea25736','end_run:run_678d5aa528b65e651ea25736','end_run','run_678d5aa528b65e651ea25736','2026-11-28 12:00:00.000000','dropped',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(3,'run_678d5aa528b65e651ea25736','fetch_interaction:i_a25736_1_1_0','fetch_interaction','i_a25736_1_1_0','2026-11-21 17:17:11.026045','done',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(4,'run_678d5aa528b65e651ea25736','request_approval:apr_a9e7e481d40df54ab3e8d0f6','request_approval','apr_a9e7e481d40df54ab3e8d0f6','2026-11-21 12:00:00.000000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(5,'run_678d5aa528b65e651ea25736','expire_approval:apr_a9e7e481d40df54ab3e8d0f6','expire_approval','apr_a9e7e481d40df54ab3e8d0f6','2026-11-22 12:00:00.000000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(6,'run_678d5aa528b65e651ea25736','update_approval:apr_a9e7e481d40df54ab3e8d0f6','update_approval','apr_a9e7e481d40df54ab3e8d0f6','2026-11-22 12:00:00.000000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(7,'run_678d5aa528b65e651ea25736','create_interaction:2.1','create_interaction','2.1','2026-11-22 12:00:00.000000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(8,'run_678d5aa528b65e651ea25736','fetch_interaction:i_a25736_2_1_1','fetch_interaction','i_a25736_2_1_1','2026-11-22 12:00:00.000000','done',2,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(9,'run_358585776f31d3b9de4c0878','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:00:00.000000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(10,'run_358585776f31d3b9de4c0878','end_run:run_358585776f31d3b9de4c0878','end_run','run_358585776f31d3b9de4c0878','2026-11-29 12:00:00.000000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(11,'run_358585776f31d3b9de4c0878','end_create_grace:1.1','end_create_grace','1.1','2026-11-22 12:00:30.000000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(12,'','fetch_interaction:i_stranger','fetch_interaction','i_stranger','2026-11-22 12:01:01.500000','dead',1,7,NULL,NULL,'no such interaction');
INSERT INTO "effect" VALUES(13,'run_86d459e208636db7d5b912c7','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(14,'run_86d459e208636db7d5b912c7','end_run:run_86d459e208636db7d5b912c7','end_run','run_86d459e208636db7d5b912c7','2026-11-29 12:01:01.500000','dropped',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(15,'run_f8fe25350e54fa34e5cdce85','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(16,'run_f8fe25350e54fa34e5cdce85','end_run:run_f8fe25350e54fa34e5cdce85','end_run','run_f8fe25350e54fa34e5cdce85','2026-11-29 12:01:01.500000','dropped',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(17,'run_756e52cb73f5e7aa35558d31','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(18,'run_756e52cb73f5e7aa35558d31','end_run:run_756e52cb73f5e7aa35558d31','end_run','run_756e52cb73f5e7aa35558d31','2026-11-29 12:01:01.500000','dropped',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(19,'run_2c5e08d56258650277430323','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(20,'run_2c5e08d56258650277430323','end_run:run_2c5e08d56258650277430323','end_run','run_2c5e08d56258650277430323','2026-11-29 12:01:01.500000','dropped',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(21,'run_7510e7f315e5cae5e2f53143','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(22,'run_7510e7f315e5cae5e2f53143','end_run:run_7510e7f315e5cae5e2f53143','end_run','run_7510e7f315e5cae5e2f53143','2026-11-29 12:01:01.500000','dropped',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(23,'run_05e87b541925c508dbe580d5','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(24,'run_05e87b541925c508dbe580d5','end_run:run_05e87b541925c508dbe580d5','end_run','run_05e87b541925c508dbe580d5','2026-11-29 12:01:01.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(25,'run_6fdec5f8f62b4035957c56ed','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(26,'run_6fdec5f8f62b4035957c56ed','end_run:run_6fdec5f8f62b4035957c56ed','end_run','run_6fdec5f8f62b4035957c56ed','2026-11-29 12:01:01.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(27,'run_86d459e208636db7d5b912c7','fetch_interaction:i_b912c7_1_1_2','fetch_interaction','i_b912c7_1_1_2','2026-11-22 16:47:35.626088','dropped',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(28,'run_f8fe25350e54fa34e5cdce85','fetch_interaction:i_cdce85_1_1_3','fetch_interaction','i_cdce85_1_1_3','2026-11-22 12:01:01.500000','done',2,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(29,'run_756e52cb73f5e7aa35558d31','fetch_interaction:i_558d31_1_1_4','fetch_interaction','i_558d31_1_1_4','2026-11-22 17:36:35.302705','dropped',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(30,'run_2c5e08d56258650277430323','fetch_interaction:i_430323_1_1_5','fetch_interaction','i_430323_1_1_5','2026-11-22 17:47:42.213575','dropped',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(31,'run_7510e7f315e5cae5e2f53143','fetch_interaction:i_f53143_1_1_6','fetch_interaction','i_f53143_1_1_6','2026-11-22 17:48:32.017766','dropped',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(32,'run_05e87b541925c508dbe580d5','fetch_interaction:i_e580d5_1_1_7','fetch_interaction','i_e580d5_1_1_7','2026-11-22 17:52:05.580182','pending',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(33,'run_6fdec5f8f62b4035957c56ed','fetch_interaction:i_7c56ed_1_1_8','fetch_interaction','i_7c56ed_1_1_8','2026-11-22 16:38:35.215426','pending',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(34,'run_86d459e208636db7d5b912c7','execute_tool:call_eca12fd510e9547c638d5fd6','execute_tool','call_eca12fd510e9547c638d5fd6','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(35,'run_86d459e208636db7d5b912c7','request_approval:apr_8f5b6e3089dca769eab4a112','request_approval','apr_8f5b6e3089dca769eab4a112','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(36,'run_86d459e208636db7d5b912c7','expire_approval:apr_8f5b6e3089dca769eab4a112','expire_approval','apr_8f5b6e3089dca769eab4a112','2026-11-23 12:01:01.500000','dropped',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(37,'run_2c5e08d56258650277430323','request_approval:apr_ad36c932bf8638397b7e1106','request_approval','apr_ad36c932bf8638397b7e1106','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(38,'run_2c5e08d56258650277430323','expire_approval:apr_ad36c932bf8638397b7e1106','expire_approval','apr_ad36c932bf8638397b7e1106','2026-11-23 12:01:01.500000','dropped',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(39,'run_7510e7f315e5cae5e2f53143','create_interaction:2.1','create_interaction','2.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(40,'run_05e87b541925c508dbe580d5','execute_tool:call_51cd04c8b79f1df88ee552d5','execute_tool','call_51cd04c8b79f1df88ee552d5','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(41,'run_6fdec5f8f62b4035957c56ed','request_approval:apr_a47e9ffa6e87016999ded285','request_approval','apr_a47e9ffa6e87016999ded285','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(42,'run_6fdec5f8f62b4035957c56ed','expire_approval:apr_a47e9ffa6e87016999ded285','expire_approval','apr_a47e9ffa6e87016999ded285','2026-11-23 12:01:01.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(43,'run_6fdec5f8f62b4035957c56ed','execute_tool:call_f46713f0da10b0149c4fe76f','execute_tool','call_f46713f0da10b0149c4fe76f','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(44,'run_756e52cb73f5e7aa35558d31','request_approval:apr_0e3c4c4b7c1809aa1a12c85e','request_approval','apr_0e3c4c4b7c1809aa1a12c85e','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(45,'run_756e52cb73f5e7aa35558d31','expire_approval:apr_0e3c4c4b7c1809aa1a12c85e','expire_approval','apr_0e3c4c4b7c1809aa1a12c85e','2026-11-23 12:01:01.500000','dropped',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(46,'run_7510e7f315e5cae5e2f53143','fetch_interaction:i_f53143_2_1_9','fetch_interaction','i_f53143_2_1_9','2026-11-22 12:01:01.500000','done',2,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(47,'run_86d459e208636db7d5b912c7','execute_tool:call_ab3f710ab48fb1553437ff09','execute_tool','call_ab3f710ab48fb1553437ff09','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(48,'run_86d459e208636db7d5b912c7','update_approval:apr_8f5b6e3089dca769eab4a112','update_approval','apr_8f5b6e3089dca769eab4a112','2026-11-22 12:01:01.500000','done',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(49,'run_2c5e08d56258650277430323','update_approval:apr_ad36c932bf8638397b7e1106','update_approval','apr_ad36c932bf8638397b7e1106','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(50,'run_2c5e08d56258650277430323','create_interaction:2.1','create_interaction','2.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(51,'run_756e52cb73f5e7aa35558d31','cancel_interaction:i_558d31_1_1_4','cancel_interaction','i_558d31_1_1_4','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(52,'run_756e52cb73f5e7aa35558d31','update_approval:apr_0e3c4c4b7c1809aa1a12c85e','update_approval','apr_0e3c4c4b7c1809aa1a12c85e','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(53,'run_86d459e208636db7d5b912c7','create_interaction:2.1','create_interaction','2.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(54,'run_2c5e08d56258650277430323','fetch_interaction:i_430323_2_1_10','fetch_interaction','i_430323_2_1_10','2026-11-22 12:01:01.500000','done',2,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(55,'run_86d459e208636db7d5b912c7','fetch_interaction:i_b912c7_2_1_11','fetch_interaction','i_b912c7_2_1_11','2026-11-22 12:01:01.500000','done',2,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(56,'run_6c87795d195e560a7d770b30','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(57,'run_6c87795d195e560a7d770b30','end_run:run_6c87795d195e560a7d770b30','end_run','run_6c87795d195e560a7d770b30','2026-11-29 12:01:01.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(58,'run_6c87795d195e560a7d770b30','fetch_interaction:i_770b30_1_1_12','fetch_interaction','i_770b30_1_1_12','2026-11-22 16:20:28.875138','pending',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(59,'run_6c87795d195e560a7d770b30','execute_tool:call_e55941048c91c21a7f7ced05','execute_tool','call_e55941048c91c21a7f7ced05','2026-11-22 12:01:02.000000','pending',1,1,NULL,NULL,'no room');
INSERT INTO "effect" VALUES(60,'run_98a4e9bbe70ffacc24986236','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(61,'run_98a4e9bbe70ffacc24986236','end_run:run_98a4e9bbe70ffacc24986236','end_run','run_98a4e9bbe70ffacc24986236','2026-11-29 12:01:01.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(62,'run_98a4e9bbe70ffacc24986236','end_create_grace:1.1','end_create_grace','1.1','2026-11-22 12:01:31.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(63,'run_d607b728ae86de8692169ae2','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(64,'run_d607b728ae86de8692169ae2','end_run:run_d607b728ae86de8692169ae2','end_run','run_d607b728ae86de8692169ae2','2026-11-29 12:01:01.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(65,'run_d607b728ae86de8692169ae2','fetch_interaction:i_169ae2_1_1_14','fetch_interaction','i_169ae2_1_1_14','2026-11-22 17:38:33.829238','pending',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(66,'run_d607b728ae86de8692169ae2','execute_tool:call_f2e1bc7bc86619d44892a680','execute_tool','call_f2e1bc7bc86619d44892a680','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(67,'run_d607b728ae86de8692169ae2','create_interaction:2.1','create_interaction','2.1','2026-11-22 12:01:03.000000','pending',1,1,NULL,NULL,'busy');
INSERT INTO "effect" VALUES(68,'run_a87ef369cb77347883179199','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(69,'run_a87ef369cb77347883179199','end_run:run_a87ef369cb77347883179199','end_run','run_a87ef369cb77347883179199','2026-11-29 12:01:01.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(70,'run_a87ef369cb77347883179199','fetch_interaction:i_179199_1_1_15','fetch_interaction','i_179199_1_1_15','2026-11-22 12:01:25.615233','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(71,'run_20628c954451e9d276e0f455','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(72,'run_20628c954451e9d276e0f455','end_run:run_20628c954451e9d276e0f455','end_run','run_20628c954451e9d276e0f455','2026-11-29 12:01:01.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(73,'run_20628c954451e9d276e0f455','fetch_interaction:i_e0f455_1_1_16','fetch_interaction','i_e0f455_1_1_16','2026-11-22 17:01:36.508107','pending',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(74,'run_20628c954451e9d276e0f455','execute_tool:call_05617873933bb0a17c4f2828','execute_tool','call_05617873933bb0a17c4f2828','2026-11-22 12:01:01.500000','claimed',1,1,'a76c59e3fc73a91447988f2f','2026-11-22 12:01:31.500000','');
INSERT INTO "effect" VALUES(75,'run_7fcd72fa4b43fa6743be8553','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','done',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(76,'run_7fcd72fa4b43fa6743be8553','end_run:run_7fcd72fa4b43fa6743be8553','end_run','run_7fcd72fa4b43fa6743be8553','2026-11-29 12:01:01.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(77,'run_7fcd72fa4b43fa6743be8553','fetch_interaction:i_be8553_1_1_17','fetch_interaction','i_be8553_1_1_17','2026-11-22 16:36:21.881194','pending',3,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(78,'run_7fcd72fa4b43fa6743be8553','execute_tool:call_3a4838be28c11396c3518fcf','execute_tool','call_3a4838be28c11396c3518fcf','2026-11-22 12:01:01.500000','claimed',1,1,'b27b4b88de3a55d11b83e1b8','2026-11-22 12:01:31.500000','');
INSERT INTO "effect" VALUES(79,'run_e74acf7dcc46d2f2c3198389','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','claimed',1,1,'0a48174472879c51105d5695','2026-11-22 12:01:31.500000','');
INSERT INTO "effect" VALUES(80,'run_e74acf7dcc46d2f2c3198389','end_run:run_e74acf7dcc46d2f2c3198389','end_run','run_e74acf7dcc46d2f2c3198389','2026-11-29 12:01:01.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(81,'run_ea96927b7b4f66da38c9f380','create_interaction:1.1','create_interaction','1.1','2026-11-22 12:01:01.500000','pending',1,0,NULL,NULL,'');
INSERT INTO "effect" VALUES(82,'run_ea96927b7b4f66da38c9f380','end_run:run_ea96927b7b4f66da38c9f380','end_run','run_ea96927b7b4f66da38c9f380','2026-11-29 12:01:01.500000','pending',1,0,NULL,NULL,'');
CREATE TABLE event (
	run_id VARCHAR(64) NOT NULL, 
	seq INTEGER NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	at DATETIME NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	data JSON NOT NULL, 
	note TEXT NOT NULL, 
	refused VARCHAR(32), 
	CONSTRAINT pk_event PRIMARY KEY (run_id, seq), 
	CONSTRAINT fk_event_run_id FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
INSERT INTO "event" VALUES('run_678d5aa528b65e651ea25736',1,'RunRequested','2026-11-21 12:00:00.000000','queued','{"input": "expired"}','',NULL);
INSERT INTO "event" VALUES('run_678d5aa528b65e651ea25736',2,'CreateClaimed','2026-11-21 12:00:00.000000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_678d5aa528b65e651ea25736',3,'InteractionObserved','2026-11-21 12:00:00.000000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_a25736_1_1_0", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_678d5aa528b65e651ea25736", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_678d5aa528b65e651ea25736',4,'InteractionObserved','2026-11-21 12:00:00.000000','waiting','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_a25736_1_1_0", "status": "requires_action", "calls": [{"id": "fc0", "name": "refund", "arguments": {"order": "A-1042", "amount": 12.5, "note": "f\u00fcr Anna \u2713"}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_678d5aa528b65e651ea25736", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "refund", "ruling": "ask", "arguments": {"order": "A-1042", "amount": 12.5, "note": "f\u00fcr Anna \u2713"}, "reason": "", "digest": "e4281876d88e3b0581613cf0d7c2bde74fa51ca613457200e7936bd2eac07294", "idempotent": false, "terms": {"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}}], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_678d5aa528b65e651ea25736',5,'ApprovalPosted','2026-11-21 12:00:00.000000','waiting','{"approval": "apr_a9e7e481d40df54ab3e8d0f6", "channel": "C0OPS", "ts": "17.0001"}','',NULL);
INSERT INTO "event" VALUES('run_678d5aa528b65e651ea25736',6,'ApprovalExpired','2026-11-22 12:00:00.000000','resuming','{"approval": "apr_a9e7e481d40df54ab3e8d0f6"}','',NULL);
INSERT INTO "event" VALUES('run_678d5aa528b65e651ea25736',7,'InteractionObserved','2026-11-22 12:00:00.000000','resuming','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_a25736_1_1_0", "status": "requires_action", "calls": [{"id": "fc0", "name": "refund", "arguments": {"order": "A-1042", "amount": 12.5, "note": "f\u00fcr Anna \u2713"}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_678d5aa528b65e651ea25736", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "refund", "ruling": "ask", "arguments": {"order": "A-1042", "amount": 12.5, "note": "f\u00fcr Anna \u2713"}, "reason": "", "digest": "e4281876d88e3b0581613cf0d7c2bde74fa51ca613457200e7936bd2eac07294", "idempotent": false, "terms": {"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}}], "former": true}','a late reading of turn 1, which the run has gone on from',NULL);
INSERT INTO "event" VALUES('run_678d5aa528b65e651ea25736',8,'CreateClaimed','2026-11-22 12:00:00.000000','resuming','{"turn": 2, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_678d5aa528b65e651ea25736',9,'InteractionObserved','2026-11-22 12:00:00.000000','running','{"turn": 2, "attempt": 1, "snapshot": {"interaction_id": "i_a25736_2_1_1", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": "i_a25736_1_1_0", "correlation": {"run": "run_678d5aa528b65e651ea25736", "turn": 2, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_678d5aa528b65e651ea25736',10,'InteractionObserved','2026-11-22 12:00:00.000000','completed','{"turn": 2, "attempt": 1, "snapshot": {"interaction_id": "i_a25736_2_1_1", "status": "completed", "calls": [], "output": "all done", "usage": {"total": 10}, "errors": [], "previous_id": "i_a25736_1_1_0", "correlation": {"run": "run_678d5aa528b65e651ea25736", "turn": 2, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_358585776f31d3b9de4c0878',1,'RunRequested','2026-11-22 12:00:00.000000','queued','{"input": "lost"}','',NULL);
INSERT INTO "event" VALUES('run_358585776f31d3b9de4c0878',2,'CreateClaimed','2026-11-22 12:00:00.000000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_358585776f31d3b9de4c0878',3,'CreateUncertain','2026-11-22 12:00:00.000000','queued','{"turn": 1, "attempt": 1, "why": "the connection broke"}','answer lost: the connection broke',NULL);
INSERT INTO "event" VALUES('run_358585776f31d3b9de4c0878',4,'CreateGraceEnded','2026-11-22 12:00:30.000000','attention','{"turn": 1, "attempt": 1}','the answer to a create got lost; say whether to send it again',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "completed"}','',NULL);
INSERT INTO "event" VALUES('run_f8fe25350e54fa34e5cdce85',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "failed"}','',NULL);
INSERT INTO "event" VALUES('run_756e52cb73f5e7aa35558d31',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "cancelled"}','',NULL);
INSERT INTO "event" VALUES('run_2c5e08d56258650277430323',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "rejected"}','',NULL);
INSERT INTO "event" VALUES('run_7510e7f315e5cae5e2f53143',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "denied"}','',NULL);
INSERT INTO "event" VALUES('run_05e87b541925c508dbe580d5',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "doubtful"}','',NULL);
INSERT INTO "event" VALUES('run_6fdec5f8f62b4035957c56ed',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "waiting"}','',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_f8fe25350e54fa34e5cdce85',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_756e52cb73f5e7aa35558d31',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_2c5e08d56258650277430323',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_7510e7f315e5cae5e2f53143',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_05e87b541925c508dbe580d5',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_6fdec5f8f62b4035957c56ed',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_b912c7_1_1_2", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_86d459e208636db7d5b912c7", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_f8fe25350e54fa34e5cdce85',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_cdce85_1_1_3", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_f8fe25350e54fa34e5cdce85", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_756e52cb73f5e7aa35558d31',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_558d31_1_1_4", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_756e52cb73f5e7aa35558d31", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_2c5e08d56258650277430323',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_430323_1_1_5", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_2c5e08d56258650277430323", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_7510e7f315e5cae5e2f53143',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_f53143_1_1_6", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_7510e7f315e5cae5e2f53143", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_05e87b541925c508dbe580d5',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_e580d5_1_1_7", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_05e87b541925c508dbe580d5", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_6fdec5f8f62b4035957c56ed',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_7c56ed_1_1_8", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_6fdec5f8f62b4035957c56ed", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',4,'InteractionObserved','2026-11-22 12:01:01.500000','waiting','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_b912c7_1_1_2", "status": "requires_action", "calls": [{"id": "fc0", "name": "look_up", "arguments": {"n": 1}}, {"id": "fc1", "name": "refund", "arguments": {"n": 2}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_86d459e208636db7d5b912c7", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "look_up", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "f2df94d63246e00f0b0637985e31ca2019d3be57ab49549525893a8800baacc1", "idempotent": true, "terms": null}, {"call_id": "fc1", "tool": "refund", "ruling": "ask", "arguments": {"n": 2}, "reason": "", "digest": "83ff7f4003472d395f7f3d398aae6e4277fc00925cccd104d52f7f2159d45d7e", "idempotent": false, "terms": {"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}}], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_f8fe25350e54fa34e5cdce85',4,'InteractionObserved','2026-11-22 12:01:01.500000','failed','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_cdce85_1_1_3", "status": "failed", "calls": [], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_f8fe25350e54fa34e5cdce85", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','Gemini failed: no reason given',NULL);
INSERT INTO "event" VALUES('run_2c5e08d56258650277430323',4,'InteractionObserved','2026-11-22 12:01:01.500000','waiting','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_430323_1_1_5", "status": "requires_action", "calls": [{"id": "fc0", "name": "refund", "arguments": {"order": "A-1042", "amount": 12.5, "note": "f\u00fcr Anna \u2713"}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_2c5e08d56258650277430323", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "refund", "ruling": "ask", "arguments": {"order": "A-1042", "amount": 12.5, "note": "f\u00fcr Anna \u2713"}, "reason": "", "digest": "798be5f0a7f35505bfc22ee9459b7636830c15078a745ce6969dccff0972eb34", "idempotent": false, "terms": {"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}}], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_7510e7f315e5cae5e2f53143',4,'InteractionObserved','2026-11-22 12:01:01.500000','resuming','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_f53143_1_1_6", "status": "requires_action", "calls": [{"id": "fc0", "name": "demolish", "arguments": {"n": 1}}, {"id": "fc1", "name": "no_such_tool", "arguments": {}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_7510e7f315e5cae5e2f53143", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "demolish", "ruling": "deny", "arguments": {"n": 1}, "reason": "not allowed", "digest": "f939758c38c5c82a1f0f0901c258af6590c3c518f2554391bc0734234a60b73b", "idempotent": false, "terms": null}, {"call_id": "fc1", "tool": "no_such_tool", "ruling": "unknown", "arguments": {}, "reason": "there is no tool no_such_tool", "digest": "fe051dacc53b3365b64010cca2ff1c44b944a0ac04ef4698e4316911fd1b9824", "idempotent": false, "terms": null}], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_05e87b541925c508dbe580d5',4,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_e580d5_1_1_7", "status": "requires_action", "calls": [{"id": "fc0", "name": "courier", "arguments": {"n": 1}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_05e87b541925c508dbe580d5", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "courier", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "ffd084ea0e69a824c2c7faf28142ace2404192d156520f5161010d11eff68186", "idempotent": false, "terms": null}], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_6fdec5f8f62b4035957c56ed',4,'InteractionObserved','2026-11-22 12:01:01.500000','waiting','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_7c56ed_1_1_8", "status": "requires_action", "calls": [{"id": "fc0", "name": "refund", "arguments": {"n": 1}}, {"id": "fc1", "name": "look_up", "arguments": {"n": 2}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_6fdec5f8f62b4035957c56ed", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "refund", "ruling": "ask", "arguments": {"n": 1}, "reason": "", "digest": "d7f9bdebc6d30e02b03242bab8ef0952410c613fef26103468de661bac7be2b8", "idempotent": false, "terms": {"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}}, {"call_id": "fc1", "tool": "look_up", "ruling": "allow", "arguments": {"n": 2}, "reason": "", "digest": "8f961a582855f8a61a7a873633d6165ff0bbcf6bd9003f317f71a5fba903bdaf", "idempotent": true, "terms": null}], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_756e52cb73f5e7aa35558d31',4,'InteractionObserved','2026-11-22 12:01:01.500000','waiting','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_558d31_1_1_4", "status": "requires_action", "calls": [{"id": "fc0", "name": "refund", "arguments": {"order": "A-1042", "amount": 12.5, "note": "f\u00fcr Anna \u2713"}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_756e52cb73f5e7aa35558d31", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "refund", "ruling": "ask", "arguments": {"order": "A-1042", "amount": 12.5, "note": "f\u00fcr Anna \u2713"}, "reason": "", "digest": "578ac3f0f66c500df433d2775528b69c439ee159c3b0d198d3d598425f44b9ed", "idempotent": false, "terms": {"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}}], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',5,'CallClaimed','2026-11-22 12:01:01.500000','waiting','{"call": "call_eca12fd510e9547c638d5fd6", "claim": "f623d904d5d6543968fdc6d3", "assessment": {"call_id": "fc0", "tool": "look_up", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "f2df94d63246e00f0b0637985e31ca2019d3be57ab49549525893a8800baacc1", "idempotent": true, "terms": null}}','',NULL);
INSERT INTO "event" VALUES('run_7510e7f315e5cae5e2f53143',5,'CreateClaimed','2026-11-22 12:01:01.500000','resuming','{"turn": 2, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_05e87b541925c508dbe580d5',5,'CallClaimed','2026-11-22 12:01:01.500000','running','{"call": "call_51cd04c8b79f1df88ee552d5", "claim": "f623d904d5d6543968fdc6d3", "assessment": {"call_id": "fc0", "tool": "courier", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "ffd084ea0e69a824c2c7faf28142ace2404192d156520f5161010d11eff68186", "idempotent": false, "terms": null}}','',NULL);
INSERT INTO "event" VALUES('run_6fdec5f8f62b4035957c56ed',5,'CallClaimed','2026-11-22 12:01:01.500000','waiting','{"call": "call_f46713f0da10b0149c4fe76f", "claim": "f623d904d5d6543968fdc6d3", "assessment": {"call_id": "fc1", "tool": "look_up", "ruling": "allow", "arguments": {"n": 2}, "reason": "", "digest": "8f961a582855f8a61a7a873633d6165ff0bbcf6bd9003f317f71a5fba903bdaf", "idempotent": true, "terms": null}}','',NULL);
INSERT INTO "event" VALUES('run_2c5e08d56258650277430323',5,'ApprovalPosted','2026-11-22 12:01:01.500000','waiting','{"approval": "apr_ad36c932bf8638397b7e1106", "channel": "C0OPS", "ts": "17.0002"}','',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',6,'ApprovalPosted','2026-11-22 12:01:01.500000','waiting','{"approval": "apr_8f5b6e3089dca769eab4a112", "channel": "C0OPS", "ts": "17.0003"}','',NULL);
INSERT INTO "event" VALUES('run_6fdec5f8f62b4035957c56ed',6,'ApprovalPosted','2026-11-22 12:01:01.500000','waiting','{"approval": "apr_a47e9ffa6e87016999ded285", "channel": "C0OPS", "ts": "17.0004"}','',NULL);
INSERT INTO "event" VALUES('run_756e52cb73f5e7aa35558d31',5,'ApprovalPosted','2026-11-22 12:01:01.500000','waiting','{"approval": "apr_0e3c4c4b7c1809aa1a12c85e", "channel": "C0OPS", "ts": "17.0005"}','',NULL);
INSERT INTO "event" VALUES('run_7510e7f315e5cae5e2f53143',6,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 2, "attempt": 1, "snapshot": {"interaction_id": "i_f53143_2_1_9", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": "i_f53143_1_1_6", "correlation": {"run": "run_7510e7f315e5cae5e2f53143", "turn": 2, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',7,'CallFinished','2026-11-22 12:01:01.500000','waiting','{"call": "call_eca12fd510e9547c638d5fd6", "claim": "f623d904d5d6543968fdc6d3", "outcome": {"kind": "succeeded", "result": {"done": "look_up"}}}','',NULL);
INSERT INTO "event" VALUES('run_05e87b541925c508dbe580d5',6,'CallCutOff','2026-11-22 12:01:01.500000','attention','{"call": "call_51cd04c8b79f1df88ee552d5", "claim": "f623d904d5d6543968fdc6d3", "why": "timed out"}','courier was cut off while running (timed out); did it happen?',NULL);
INSERT INTO "event" VALUES('run_6fdec5f8f62b4035957c56ed',7,'CallFinished','2026-11-22 12:01:01.500000','waiting','{"call": "call_f46713f0da10b0149c4fe76f", "claim": "f623d904d5d6543968fdc6d3", "outcome": {"kind": "succeeded", "result": {"done": "look_up"}}}','',NULL);
INSERT INTO "event" VALUES('run_7510e7f315e5cae5e2f53143',7,'InteractionObserved','2026-11-22 12:01:01.500000','completed','{"turn": 2, "attempt": 1, "snapshot": {"interaction_id": "i_f53143_2_1_9", "status": "completed", "calls": [], "output": "all done", "usage": {"total": 10}, "errors": [], "previous_id": "i_f53143_1_1_6", "correlation": {"run": "run_7510e7f315e5cae5e2f53143", "turn": 2, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',8,'ApprovalDecided','2026-11-22 12:01:01.500000','running','{"approval": "apr_8f5b6e3089dca769eab4a112", "digest": "83ff7f4003472d395f7f3d398aae6e4277fc00925cccd104d52f7f2159d45d7e", "verdict": {"approve": true, "by": {"id": "U0ANNA", "name": "anna", "door": "slack"}, "at": "2026-11-22T12:01:01.500000Z", "reason": ""}, "entitled_as": "U0ANNA"}','',NULL);
INSERT INTO "event" VALUES('run_2c5e08d56258650277430323',6,'ApprovalDecided','2026-11-22 12:01:01.500000','resuming','{"approval": "apr_ad36c932bf8638397b7e1106", "digest": "798be5f0a7f35505bfc22ee9459b7636830c15078a745ce6969dccff0972eb34", "verdict": {"approve": false, "by": {"id": "U0ANNA", "name": "anna", "door": "slack"}, "at": "2026-11-22T12:01:01.500000Z", "reason": "not this week"}, "entitled_as": "U0ANNA"}','',NULL);
INSERT INTO "event" VALUES('run_756e52cb73f5e7aa35558d31',6,'CancelRequested','2026-11-22 12:01:01.500000','cancelled','{"by": {"id": "U0ANNA", "name": "anna", "door": "slack"}, "reason": "enough"}','cancelled by anna: enough',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',9,'CallClaimed','2026-11-22 12:01:01.500000','running','{"call": "call_ab3f710ab48fb1553437ff09", "claim": "1c7600fa1556b846e9d71d46", "assessment": {"call_id": "fc1", "tool": "refund", "ruling": "ask", "arguments": {"n": 2}, "reason": "", "digest": "83ff7f4003472d395f7f3d398aae6e4277fc00925cccd104d52f7f2159d45d7e", "idempotent": false, "terms": {"approvers": ["U0ANNA", "U0BEN", "api:ops"], "channel": "C0OPS", "expires_after": "P1D", "start_within": "PT3600S"}}}','',NULL);
INSERT INTO "event" VALUES('run_2c5e08d56258650277430323',7,'CreateClaimed','2026-11-22 12:01:01.500000','resuming','{"turn": 2, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',10,'CallFinished','2026-11-22 12:01:01.500000','resuming','{"call": "call_ab3f710ab48fb1553437ff09", "claim": "1c7600fa1556b846e9d71d46", "outcome": {"kind": "succeeded", "result": {"done": "refund"}}}','',NULL);
INSERT INTO "event" VALUES('run_2c5e08d56258650277430323',8,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 2, "attempt": 1, "snapshot": {"interaction_id": "i_430323_2_1_10", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": "i_430323_1_1_5", "correlation": {"run": "run_2c5e08d56258650277430323", "turn": 2, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',11,'CreateClaimed','2026-11-22 12:01:01.500000','resuming','{"turn": 2, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_2c5e08d56258650277430323',9,'InteractionObserved','2026-11-22 12:01:01.500000','completed','{"turn": 2, "attempt": 1, "snapshot": {"interaction_id": "i_430323_2_1_10", "status": "completed", "calls": [], "output": "all done", "usage": {"total": 10}, "errors": [], "previous_id": "i_430323_1_1_5", "correlation": {"run": "run_2c5e08d56258650277430323", "turn": 2, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',12,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 2, "attempt": 1, "snapshot": {"interaction_id": "i_b912c7_2_1_11", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": "i_b912c7_1_1_2", "correlation": {"run": "run_86d459e208636db7d5b912c7", "turn": 2, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_86d459e208636db7d5b912c7',13,'InteractionObserved','2026-11-22 12:01:01.500000','completed','{"turn": 2, "attempt": 1, "snapshot": {"interaction_id": "i_b912c7_2_1_11", "status": "completed", "calls": [], "output": "all done", "usage": {"total": 10}, "errors": [], "previous_id": "i_b912c7_1_1_2", "correlation": {"run": "run_86d459e208636db7d5b912c7", "turn": 2, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_6c87795d195e560a7d770b30',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "ready"}','',NULL);
INSERT INTO "event" VALUES('run_6c87795d195e560a7d770b30',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_6c87795d195e560a7d770b30',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_770b30_1_1_12", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_6c87795d195e560a7d770b30", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_6c87795d195e560a7d770b30',4,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_770b30_1_1_12", "status": "requires_action", "calls": [{"id": "fc0", "name": "busy", "arguments": {"n": 1}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_6c87795d195e560a7d770b30", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "busy", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "0d8af7ae495c121542b436db1640081329c1e5f1cf0cd83c800bac858c511894", "idempotent": false, "terms": null}], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_6c87795d195e560a7d770b30',5,'CallClaimed','2026-11-22 12:01:01.500000','running','{"call": "call_e55941048c91c21a7f7ced05", "claim": "f4c8aad340b517f6e1bc2d2a", "assessment": {"call_id": "fc0", "tool": "busy", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "0d8af7ae495c121542b436db1640081329c1e5f1cf0cd83c800bac858c511894", "idempotent": false, "terms": null}}','',NULL);
INSERT INTO "event" VALUES('run_6c87795d195e560a7d770b30',6,'CallDeferred','2026-11-22 12:01:01.500000','running','{"call": "call_e55941048c91c21a7f7ced05", "claim": "f4c8aad340b517f6e1bc2d2a", "why": "no room"}','no room',NULL);
INSERT INTO "event" VALUES('run_98a4e9bbe70ffacc24986236',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "unknown"}','',NULL);
INSERT INTO "event" VALUES('run_98a4e9bbe70ffacc24986236',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_98a4e9bbe70ffacc24986236',3,'CreateUncertain','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1, "why": "the connection broke after the request was sent"}','answer lost: the connection broke after the request was sent',NULL);
INSERT INTO "event" VALUES('run_d607b728ae86de8692169ae2',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "resuming"}','',NULL);
INSERT INTO "event" VALUES('run_d607b728ae86de8692169ae2',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_d607b728ae86de8692169ae2',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_169ae2_1_1_14", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_d607b728ae86de8692169ae2", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_d607b728ae86de8692169ae2',4,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_169ae2_1_1_14", "status": "requires_action", "calls": [{"id": "fc0", "name": "look_up", "arguments": {"n": 1}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_d607b728ae86de8692169ae2", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "look_up", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "6d0b8aa413c5dd9fda8363aaeebeca4edf8f75b54e0ff551ad2c115f33f8f0fb", "idempotent": true, "terms": null}], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_d607b728ae86de8692169ae2',5,'CallClaimed','2026-11-22 12:01:01.500000','running','{"call": "call_f2e1bc7bc86619d44892a680", "claim": "a02f6f5b7727d4ba07092543", "assessment": {"call_id": "fc0", "tool": "look_up", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "6d0b8aa413c5dd9fda8363aaeebeca4edf8f75b54e0ff551ad2c115f33f8f0fb", "idempotent": true, "terms": null}}','',NULL);
INSERT INTO "event" VALUES('run_d607b728ae86de8692169ae2',6,'CallFinished','2026-11-22 12:01:01.500000','resuming','{"call": "call_f2e1bc7bc86619d44892a680", "claim": "a02f6f5b7727d4ba07092543", "outcome": {"kind": "succeeded", "result": {"done": "look_up"}}}','',NULL);
INSERT INTO "event" VALUES('run_d607b728ae86de8692169ae2',7,'CreateClaimed','2026-11-22 12:01:01.500000','resuming','{"turn": 2, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_d607b728ae86de8692169ae2',8,'CreateDeferred','2026-11-22 12:01:01.500000','resuming','{"turn": 2, "attempt": 1, "why": "busy"}','',NULL);
INSERT INTO "event" VALUES('run_a87ef369cb77347883179199',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "running"}','',NULL);
INSERT INTO "event" VALUES('run_a87ef369cb77347883179199',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_a87ef369cb77347883179199',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_179199_1_1_15", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_a87ef369cb77347883179199", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_20628c954451e9d276e0f455',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "job"}','',NULL);
INSERT INTO "event" VALUES('run_20628c954451e9d276e0f455',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_20628c954451e9d276e0f455',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_e0f455_1_1_16", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_20628c954451e9d276e0f455", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_20628c954451e9d276e0f455',4,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_e0f455_1_1_16", "status": "requires_action", "calls": [{"id": "fc0", "name": "film", "arguments": {"n": 1}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_20628c954451e9d276e0f455", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "film", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "8a27c40c59722881022f5be759804b2345e0a424947abe914992932a8ea5db8f", "idempotent": true, "terms": null}], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_20628c954451e9d276e0f455',5,'CallClaimed','2026-11-22 12:01:01.500000','running','{"call": "call_05617873933bb0a17c4f2828", "claim": "a76c59e3fc73a91447988f2f", "assessment": {"call_id": "fc0", "tool": "film", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "8a27c40c59722881022f5be759804b2345e0a424947abe914992932a8ea5db8f", "idempotent": true, "terms": null}}','',NULL);
INSERT INTO "event" VALUES('run_7fcd72fa4b43fa6743be8553',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "executing"}','',NULL);
INSERT INTO "event" VALUES('run_7fcd72fa4b43fa6743be8553',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_7fcd72fa4b43fa6743be8553',3,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_be8553_1_1_17", "status": "in_progress", "calls": [], "output": "", "usage": {}, "errors": [], "previous_id": null, "correlation": {"run": "run_7fcd72fa4b43fa6743be8553", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_7fcd72fa4b43fa6743be8553',4,'InteractionObserved','2026-11-22 12:01:01.500000','running','{"turn": 1, "attempt": 1, "snapshot": {"interaction_id": "i_be8553_1_1_17", "status": "requires_action", "calls": [{"id": "fc0", "name": "slow", "arguments": {"n": 1}}], "output": "", "usage": {"total": 10}, "errors": [], "previous_id": null, "correlation": {"run": "run_7fcd72fa4b43fa6743be8553", "turn": 1, "attempt": 1}, "continuation": null}, "assessments": [{"call_id": "fc0", "tool": "slow", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "4aab909b6bbb1c563871846e26acb6810e2b2c9e711851b60b8b30d13d73f7e2", "idempotent": false, "terms": null}], "former": false}','',NULL);
INSERT INTO "event" VALUES('run_7fcd72fa4b43fa6743be8553',5,'CallClaimed','2026-11-22 12:01:01.500000','running','{"call": "call_3a4838be28c11396c3518fcf", "claim": "b27b4b88de3a55d11b83e1b8", "assessment": {"call_id": "fc0", "tool": "slow", "ruling": "allow", "arguments": {"n": 1}, "reason": "", "digest": "4aab909b6bbb1c563871846e26acb6810e2b2c9e711851b60b8b30d13d73f7e2", "idempotent": false, "terms": null}}','',NULL);
INSERT INTO "event" VALUES('run_e74acf7dcc46d2f2c3198389',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "sending"}','',NULL);
INSERT INTO "event" VALUES('run_e74acf7dcc46d2f2c3198389',2,'CreateClaimed','2026-11-22 12:01:01.500000','queued','{"turn": 1, "attempt": 1}','',NULL);
INSERT INTO "event" VALUES('run_ea96927b7b4f66da38c9f380',1,'RunRequested','2026-11-22 12:01:01.500000','queued','{"input": "queued"}','',NULL);
CREATE TABLE interaction (
	id VARCHAR(512) NOT NULL, 
	run_id VARCHAR(64) NOT NULL, 
	turn INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	CONSTRAINT pk_interaction PRIMARY KEY (id), 
	CONSTRAINT fk_interaction_run_id FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
INSERT INTO "interaction" VALUES('i_a25736_1_1_0','run_678d5aa528b65e651ea25736',1,1);
INSERT INTO "interaction" VALUES('i_a25736_2_1_1','run_678d5aa528b65e651ea25736',2,1);
INSERT INTO "interaction" VALUES('i_b912c7_1_1_2','run_86d459e208636db7d5b912c7',1,1);
INSERT INTO "interaction" VALUES('i_cdce85_1_1_3','run_f8fe25350e54fa34e5cdce85',1,1);
INSERT INTO "interaction" VALUES('i_558d31_1_1_4','run_756e52cb73f5e7aa35558d31',1,1);
INSERT INTO "interaction" VALUES('i_430323_1_1_5','run_2c5e08d56258650277430323',1,1);
INSERT INTO "interaction" VALUES('i_f53143_1_1_6','run_7510e7f315e5cae5e2f53143',1,1);
INSERT INTO "interaction" VALUES('i_e580d5_1_1_7','run_05e87b541925c508dbe580d5',1,1);
INSERT INTO "interaction" VALUES('i_7c56ed_1_1_8','run_6fdec5f8f62b4035957c56ed',1,1);
INSERT INTO "interaction" VALUES('i_f53143_2_1_9','run_7510e7f315e5cae5e2f53143',2,1);
INSERT INTO "interaction" VALUES('i_430323_2_1_10','run_2c5e08d56258650277430323',2,1);
INSERT INTO "interaction" VALUES('i_b912c7_2_1_11','run_86d459e208636db7d5b912c7',2,1);
INSERT INTO "interaction" VALUES('i_770b30_1_1_12','run_6c87795d195e560a7d770b30',1,1);
INSERT INTO "interaction" VALUES('i_169ae2_1_1_14','run_d607b728ae86de8692169ae2',1,1);
INSERT INTO "interaction" VALUES('i_179199_1_1_15','run_a87ef369cb77347883179199',1,1);
INSERT INTO "interaction" VALUES('i_e0f455_1_1_16','run_20628c954451e9d276e0f455',1,1);
INSERT INTO "interaction" VALUES('i_be8553_1_1_17','run_7fcd72fa4b43fa6743be8553',1,1);
CREATE TABLE run (
	id VARCHAR(64) NOT NULL, 
	workflow VARCHAR(200) NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	recipe JSON NOT NULL, 
	turn INTEGER NOT NULL, 
	input TEXT NOT NULL, 
	requester JSON NOT NULL, 
	output TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	usage JSON NOT NULL, 
	bad_calls INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	deadline DATETIME NOT NULL, 
	closed_at DATETIME, 
	version INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	owner VARCHAR(200), 
	idempotency_key VARCHAR(200), 
	body_hash VARCHAR(64), 
	CONSTRAINT pk_run PRIMARY KEY (id), 
	CONSTRAINT uq_run_owner_idempotency_key UNIQUE (owner, idempotency_key), 
	CONSTRAINT ck_run_status CHECK (status IN ('queued', 'running', 'waiting', 'resuming', 'completed', 'failed', 'cancelled', 'attention'))
);
INSERT INTO "run" VALUES('run_678d5aa528b65e651ea25736','refunds','completed','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',2,'expired','{"id": "U0ANNA", "name": "anna", "door": "slack"}','all done','','{"total": 20}',0,'2026-11-21 12:00:00.000000','2026-11-22 12:00:00.000000','2026-11-28 12:00:00.000000','2026-11-22 12:00:00.000000',10,10,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_358585776f31d3b9de4c0878','refunds','attention','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'lost','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','the answer to a create got lost; say whether to send it again','{}',0,'2026-11-22 12:00:00.000000','2026-11-22 12:00:30.000000','2026-11-29 12:00:00.000000',NULL,4,4,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_86d459e208636db7d5b912c7','refunds','completed','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',2,'completed','{"id": "U0ANNA", "name": "anna", "door": "slack"}','all done','','{"total": 20}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000','2026-11-22 12:01:01.500000',13,13,'shop','A-1042','07852323c8410eef414480c575dd39586577135308c2759f5aa3c99e336b4e3a');
INSERT INTO "run" VALUES('run_f8fe25350e54fa34e5cdce85','refunds','failed','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'failed','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','Gemini failed: no reason given','{"total": 10}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000','2026-11-22 12:01:01.500000',4,4,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_756e52cb73f5e7aa35558d31','refunds','cancelled','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'cancelled','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','cancelled by anna: enough','{"total": 10}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000','2026-11-22 12:01:01.500000',6,6,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_2c5e08d56258650277430323','refunds','completed','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',2,'rejected','{"id": "U0ANNA", "name": "anna", "door": "slack"}','all done','','{"total": 20}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000','2026-11-22 12:01:01.500000',9,9,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_7510e7f315e5cae5e2f53143','refunds','completed','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',2,'denied','{"id": "U0ANNA", "name": "anna", "door": "slack"}','all done','','{"total": 20}',1,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000','2026-11-22 12:01:01.500000',7,7,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_05e87b541925c508dbe580d5','refunds','attention','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'doubtful','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','courier was cut off while running (timed out); did it happen?','{"total": 10}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000',NULL,6,6,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_6fdec5f8f62b4035957c56ed','refunds','waiting','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'waiting','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','','{"total": 10}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000',NULL,7,7,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_6c87795d195e560a7d770b30','refunds','running','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'ready','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','','{"total": 10}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000',NULL,6,6,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_98a4e9bbe70ffacc24986236','refunds','queued','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'unknown','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','the connection broke after the request was sent','{}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000',NULL,3,3,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_d607b728ae86de8692169ae2','refunds','resuming','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',2,'resuming','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','busy','{"total": 10}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000',NULL,8,8,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_a87ef369cb77347883179199','refunds','running','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'running','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','','{}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000',NULL,3,3,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_20628c954451e9d276e0f455','refunds','running','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'job','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','','{"total": 10}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000',NULL,6,6,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_7fcd72fa4b43fa6743be8553','refunds','running','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'executing','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','','{"total": 10}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000',NULL,5,5,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_e74acf7dcc46d2f2c3198389','refunds','queued','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'sending','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','','{}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000',NULL,2,2,NULL,NULL,NULL);
INSERT INTO "run" VALUES('run_ea96927b7b4f66da38c9f380','refunds','queued','{"workflow": "refunds", "model": "gemini-3.8-flash", "agent": null, "system_instruction": null, "tools": ["look_up", "refund", "demolish", "courier", "busy", "film", "slow"], "builtin_tools": [], "generation_config": {}, "response_format": null, "agent_config": null, "limits": {"max_turns": 20, "max_calls_per_turn": 16, "max_bad_calls": 10, "max_duration": "P7D"}}',1,'queued','{"id": "U0ANNA", "name": "anna", "door": "slack"}','','','{}',0,'2026-11-22 12:01:01.500000','2026-11-22 12:01:01.500000','2026-11-29 12:01:01.500000',NULL,1,1,NULL,NULL,NULL);
CREATE TABLE turn (
	run_id VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	status VARCHAR(32) NOT NULL, 
	interaction_id VARCHAR(512), 
	previous_id VARCHAR(512), 
	gemini_status VARCHAR(64) NOT NULL, 
	readings INTEGER NOT NULL, 
	sent_at DATETIME, 
	continuation TEXT, 
	CONSTRAINT pk_turn PRIMARY KEY (run_id, number), 
	CONSTRAINT fk_turn_run_id FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE, 
	CONSTRAINT ck_turn_status CHECK (status IN ('intended', 'sending', 'unknown', 'lost', 'live', 'action', 'ended'))
);
INSERT INTO "turn" VALUES('run_678d5aa528b65e651ea25736',1,1,'ended','i_a25736_1_1_0',NULL,'requires_action',0,'2026-11-21 12:00:00.000000',NULL);
INSERT INTO "turn" VALUES('run_678d5aa528b65e651ea25736',2,1,'ended','i_a25736_2_1_1','i_a25736_1_1_0','completed',0,'2026-11-22 12:00:00.000000',NULL);
INSERT INTO "turn" VALUES('run_358585776f31d3b9de4c0878',1,1,'lost',NULL,NULL,'',0,'2026-11-22 12:00:00.000000',NULL);
INSERT INTO "turn" VALUES('run_86d459e208636db7d5b912c7',1,1,'ended','i_b912c7_1_1_2',NULL,'requires_action',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_f8fe25350e54fa34e5cdce85',1,1,'ended','i_cdce85_1_1_3',NULL,'failed',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_756e52cb73f5e7aa35558d31',1,1,'ended','i_558d31_1_1_4',NULL,'requires_action',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_2c5e08d56258650277430323',1,1,'ended','i_430323_1_1_5',NULL,'requires_action',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_7510e7f315e5cae5e2f53143',1,1,'ended','i_f53143_1_1_6',NULL,'requires_action',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_05e87b541925c508dbe580d5',1,1,'action','i_e580d5_1_1_7',NULL,'requires_action',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_6fdec5f8f62b4035957c56ed',1,1,'action','i_7c56ed_1_1_8',NULL,'requires_action',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_7510e7f315e5cae5e2f53143',2,1,'ended','i_f53143_2_1_9','i_f53143_1_1_6','completed',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_2c5e08d56258650277430323',2,1,'ended','i_430323_2_1_10','i_430323_1_1_5','completed',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_86d459e208636db7d5b912c7',2,1,'ended','i_b912c7_2_1_11','i_b912c7_1_1_2','completed',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_6c87795d195e560a7d770b30',1,1,'action','i_770b30_1_1_12',NULL,'requires_action',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_98a4e9bbe70ffacc24986236',1,1,'unknown',NULL,NULL,'',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_d607b728ae86de8692169ae2',1,1,'ended','i_169ae2_1_1_14',NULL,'requires_action',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_d607b728ae86de8692169ae2',2,1,'intended',NULL,'i_169ae2_1_1_14','',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_a87ef369cb77347883179199',1,1,'live','i_179199_1_1_15',NULL,'in_progress',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_20628c954451e9d276e0f455',1,1,'action','i_e0f455_1_1_16',NULL,'requires_action',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_7fcd72fa4b43fa6743be8553',1,1,'action','i_be8553_1_1_17',NULL,'requires_action',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_e74acf7dcc46d2f2c3198389',1,1,'sending',NULL,NULL,'',0,'2026-11-22 12:01:01.500000',NULL);
INSERT INTO "turn" VALUES('run_ea96927b7b4f66da38c9f380',1,1,'intended',NULL,NULL,'',0,NULL,NULL);
CREATE INDEX ix_delivery_new ON delivery (received_at) WHERE state = 'new';
CREATE INDEX ix_delivery_parked ON delivery (subject) WHERE state = 'parked';
CREATE INDEX ix_delivery_subject ON delivery (subject);
CREATE INDEX ix_effect_dead ON effect (id) WHERE state = 'dead';
CREATE INDEX ix_effect_due ON effect (due_at) WHERE state = 'pending';
CREATE INDEX ix_effect_lease ON effect (lease_until) WHERE state = 'claimed';
CREATE INDEX ix_run_created ON run (created_at, id);
CREATE INDEX ix_run_live ON run (id) WHERE closed_at IS NULL;
CREATE INDEX ix_run_status ON run (status, created_at, id);
CREATE INDEX ix_run_workflow ON run (workflow, created_at, id);
CREATE INDEX ix_interaction_run_id ON interaction (run_id);
CREATE INDEX ix_approval_call ON approval (call);
CREATE INDEX ix_approval_run ON approval (run_id, requested_at, id);
CREATE INDEX ix_approval_status ON approval (status, requested_at, id);
COMMIT;
