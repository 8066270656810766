-- Push vendors by the API's number (PushPlatform), as its page lists them.
-- Grain: one row per platform_id.
-- Reads: nothing.

select
    vendors.platform_id,
    vendors.platform,
    vendors.vendor
from (
    values
    (0, 'unknown', 'Unknown vendor, or the vendor''s own online channel'),
    (1, 'apns', 'Apple Push Notification service'),
    (2, 'xiaomi', 'Xiaomi Push (Mi Push)'),
    (3, 'huawei', 'Huawei Push Kit'),
    (4, 'fcm', 'Google Firebase Cloud Messaging'),
    (5, 'meizu', 'Meizu Push'),
    (6, 'oppo', 'OPPO Push'),
    (7, 'vivo', 'vivo Push'),
    (8, 'honor', 'HONOR Push')
) as vendors (platform_id, platform, vendor)
