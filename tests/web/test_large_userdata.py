"""User data as large as the protocol lets it be, over the wire."""

import base64

from tests.simulated import build


def test_user_data_of_a_million_characters_comes_whole_by_post(site):
    build()
    site.cloud.ask("updateConfiguration", name="vm.userdata.max.length", value=1_048_576)
    data = base64.b64encode(bytes(range(256)) * 3072).decode()
    assert 1_048_000 < len(data) <= 1_048_576 and "+" in data and "/" in data  # which a form writes with three letters
    answered = site.ask(method="POST", command="registerUserData", name="large", userdata=data)
    assert answered.status_code == 200, answered.text[:300]
    assert site.cloud.ask("listUserData", listall=True)["userdata"][0]["userdata"] == data
    refused = site.ask(method="POST", command="registerUserData", name="larger", userdata=data + "AAAA")
    assert refused.status_code == 431 and "max allowed length" in refused.text
