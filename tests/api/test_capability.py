"""What the installation says that it can do."""


def test_capabilities_are_an_object_that_everybody_may_read(cloud):
    cloud.account("ann")
    told = cloud.ask("listCapabilities", user="ann")
    assert set(told) == {"capability"}
    found = told["capability"]
    assert found["cloudstackversion"].startswith("4.") and found["securitygroupsenabled"] is False
    assert (found["customdiskofferingminsize"], found["supportELB"]) == (1, "false")
    cloud.ask(
        "createZone", name="b", networktype="Basic", dns1="192.0.2.53", internaldns1="192.0.2.54",
        allocationstate="Enabled",
    )  # fmt: skip
    assert cloud.ask("listCapabilities", user="ann")["capability"]["securitygroupsenabled"] is True


def test_what_a_setting_says_is_told(cloud):
    cloud.ask("updateConfiguration", name="allow.public.user.templates", value="false")
    assert cloud.ask("listCapabilities")["capability"]["userpublictemplateenabled"] is False


def test_what_users_may_is_told_to_each_for_its_own_account_and_admins_may_it_all(cloud):
    for name in ("ann", "bob"):
        cloud.account(name)
    (ann,) = cloud.ask("listAccounts", name="ann", listall=True)["account"]
    told = {
        "allow.user.force.stop.vm": ("allowuserforcestopvm", True, True),
        "allow.user.expunge.recover.volume": ("allowuserexpungerecovervolume", True, True),
        "allow.user.expunge.recover.vm": ("allowuserexpungerecovervm", False, True),
        "allow.user.view.destroyed.vm": ("allowuserviewdestroyedvm", False, True),
        "enable.additional.vm.configuration": ("additionalconfigenabled", False, False),
    }
    for setting, (field, user, admin) in told.items():
        found = {who: cloud.ask("listCapabilities", user=who)["capability"][field] for who in ("ann", "admin")}
        assert found == {"ann": user, "admin": admin}, field
        cloud.ask("updateConfiguration", name=setting, value=str(not user).lower(), accountid=ann["id"])
        found = {who: cloud.ask("listCapabilities", user=who)["capability"][field] for who in ("ann", "bob")}
        assert found == {"ann": not user, "bob": user}, field


def test_leases_and_limits_of_calls_are_told_where_they_are(cloud):
    before = cloud.ask("listCapabilities")["capability"]
    assert before["instanceleaseenabled"] is False and "apilimitmax" not in before
    sent = {"instance.lease.enabled": "true", "api.throttling.enabled": "true", "api.throttling.max": "7000"}
    for name, value in sent.items():
        cloud.ask("updateConfiguration", name=name, value=value)
    after = cloud.ask("listCapabilities")["capability"]
    assert (after["instanceleaseenabled"], after["apilimitmax"], after["apilimitinterval"]) == (True, 7000, 1)
